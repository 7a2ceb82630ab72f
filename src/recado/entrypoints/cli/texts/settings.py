"""What problems of the settings say, in Portuguese."""

from collections.abc import Mapping
from typing import Final

SETTINGS: Final[Mapping[str, str]] = {
    "RECADO_PUBLIC_URL is not set: give the https:// address at which Twilio reaches this server.": (
        "RECADO_PUBLIC_URL não está definida: dê o endereço https:// em que o Twilio alcança este servidor."
    ),
    "RECADO_SECRET_KEY is not set: {why}": "RECADO_SECRET_KEY não está definida: {why}",
    "RECADO_SECRET_KEY cannot be used: {why}": "RECADO_SECRET_KEY não pode ser usada: {why}",
    "it must be 32 bytes in base64url; `recado init` writes one to recado.env, or make one with {command}": (
        "ela precisa ser 32 bytes em base64url; `recado init` põe uma em recado.env, ou crie uma com {command}"
    ),
    "{name} is not a setting: did you mean {near}?": "{name} não é uma configuração: você quis dizer {near}?",
    "{name} is not a setting: see docs/reference/settings.md, or remove it.": (
        "{name} não é uma configuração: veja docs/reference/settings.md, ou remova."
    ),
    "{name} cannot be read from {text}: {error}": "{name} não pode ser lida de {text}: {error}",
    "{name} is {value}, but must be a number.": "{name} é {value}, mas precisa ser um número.",
    "{name} is {value}, but must be more than 0.": "{name} é {value}, mas precisa ser mais que 0.",
    "{name} is {value}, but must be at least {least}.": "{name} é {value}, mas precisa ser pelo menos {least}.",
    "{name} is {value}, but must be at most {most}.": "{name} é {value}, mas pode ser no máximo {most}.",
    "{name} is not an address: write it as https://recado.example.com.": (
        "{name} não é um endereço: escreva como https://recado.example.com."
    ),
    "{name} must begin with https://; http:// is for this machine only (localhost, 127.0.0.1).": (
        "{name} precisa começar com https://; http:// é só para esta máquina (localhost, 127.0.0.1)."
    ),
    "{name} must have no query and no fragment (nothing from ? or # on).": (
        "{name} não pode ter query nem fragmento (nada a partir de ? ou #)."
    ),
    "{name} must hold no user name and no password.": "{name} não pode ter nome de usuário nem senha.",
    "RECADO_DATABASE_URL must be sqlite:/// and the path of a file, or postgresql://user@host/name.": (
        "RECADO_DATABASE_URL precisa ser sqlite:/// e o caminho de um arquivo, ou postgresql://usuario@host/nome."
    ),
    "RECADO_DATABASE_URL must name a database: postgresql://user@host/name.": (
        "RECADO_DATABASE_URL precisa nomear um banco: postgresql://usuario@host/nome."
    ),
    "RECADO_DATABASE_URL names PostgreSQL, whose driver is missing: {why}.": (
        "RECADO_DATABASE_URL nomeia PostgreSQL, cujo driver falta: {why}."
    ),
    "RECADO_QUEUE_BACKEND is {backend}, whose client is missing: {why}.": (
        "RECADO_QUEUE_BACKEND é {backend}, cujo cliente falta: {why}."
    ),
    "RECADO_QUEUE_BACKEND is {backend}, which does not fit DATABASE_URL: use {other}.": (
        "RECADO_QUEUE_BACKEND é {backend}, que não combina com DATABASE_URL: use {other}."
    ),
    "install the extra {name} (in the checkout: pip install '.[{name}]')": (
        "instale o extra {name} (no checkout: pip install '.[{name}]')"
    ),
    "{count} settings must be fixed:": "{count} configurações precisam ser corrigidas:",
}
