"""What commands say, in Portuguese."""

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "Error:": "Erro:",
    "Try '{command} --help' for help.": "Veja '{command} --help'.",
    "interrupted": "interrompido",
    # --- init
    "E-mail of the first user (empty: register nobody)": "E-mail do primeiro usuário (vazio: não cadastrar ninguém)",
    "Name of the organisation": "Nome da organização",
    "Password (empty: one is made)": "Senha (vazio: uma é criada)",
    "Address at which Twilio reaches this server": "Endereço em que o Twilio alcança este servidor",
    "Twilio account SID (empty: the emulator on this machine)": "Account SID do Twilio (vazio: o emulador daqui)",
    "The same again": "A mesma outra vez",
    "the two were not the same; type the command again": "as duas não eram iguais; digite o comando de novo",
    "Auth token of the account": "Auth token da conta",
    "Number": "Número",
    "{file} holds the settings; only you can read it.": "{file} guarda as configurações; só você pode ler.",
    "Keep a copy of RECADO_SECRET_KEY elsewhere: without it nothing stored opens.": (
        "Guarde uma cópia de RECADO_SECRET_KEY em outro lugar: sem ela nada do que foi guardado abre."
    ),
    "The database is ready: {database}": "O banco de dados está pronto: {database}",
    "The organisation's id, for --owner: {owner}": "O id da organização, para --owner: {owner}",
    "The password of {email}, shown once: {password}": "A senha de {email}, mostrada só agora: {password}",
    "Next, in this folder:": "Em seguida, nesta pasta:",
    "and in other terminals:": "e em outros terminais:",
    "At Twilio, the webhook of the number: {url}": "No Twilio, o webhook do número: {url}",
    # --- serve
    "Recado listens at {url}; stop it with Ctrl-C.": "O Recado escuta em {url}; pare com Ctrl-C.",
    "Webhook of each number at Twilio (POST): {webhook}": "Webhook de cada número no Twilio (POST): {webhook}",
    "Twilio cannot reach that address; `recado emulator` on this machine can.": (
        "O Twilio não alcança esse endereço; `recado emulator` nesta máquina alcança."
    ),
    "Health: {url}/readyz": "Saúde: {url}/readyz",
    "Nothing is answered until a worker runs: type `recado worker` in another terminal.": (
        "Nada é respondido enquanto não houver um worker: digite `recado worker` em outro terminal."
    ),
}
