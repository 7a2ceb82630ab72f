"""What commands about people, API keys and the audit say, in Portuguese: their help, their sentences, their errors."""

from collections.abc import Mapping
from typing import Final

PEOPLE: Final[Mapping[str, str]] = {
    # Help.
    "Add, invite and list people, and say what they may do.": (
        "Acrescentar, convidar e listar pessoas, e dizer o que elas podem fazer."
    ),
    "Add a user with a password. The user can sign in at once.": (
        "Acrescenta um usuário com uma senha. O usuário pode entrar na hora."
    ),
    "Add a user, who chooses a password by a link. The link is mailed, or printed where no mail can be sent.": (
        "Acrescenta um usuário, que escolhe a senha por um link. O link vai por e-mail, ou é mostrado onde não há"
        " e-mail."
    ),
    "Send a user a link to choose a password. It is mailed, or printed where no mail can be sent.": (
        "Envia a um usuário um link para escolher a senha. Ele vai por e-mail, ou é mostrado onde não há e-mail."
    ),
    "Let a user in no more, and sign the user out everywhere.": (
        "Não deixa mais o usuário entrar, e encerra todas as sessões dele."
    ),
    "Let a user in again.": "Deixa o usuário entrar de novo.",
    "Give a user another role, and sign the user out everywhere.": (
        "Dá outro papel ao usuário, e encerra todas as sessões dele."
    ),
    "The e-mail address with which the person signs in.": "O e-mail com que a pessoa entra.",
    "The name that stands at what the person does.": "O nome que fica no que a pessoa faz.",
    "The id in `recado users list`.": "O id em `recado users list`.",
    "owner, admin, operator or viewer.": "owner, admin, operator ou viewer.",
    "Create, list and revoke the API keys of programs.": "Criar, listar e revogar as chaves de API de programas.",
    "Create an API key. It is shown now and never again.": "Cria uma chave de API. Ela é mostrada agora e nunca mais.",
    "End an API key at once. A second call changes nothing.": (
        "Encerra uma chave de API na hora. Uma segunda vez não muda nada."
    ),
    "List an organisation's API keys, revoked ones too.": (
        "Lista as chaves de API de uma organização, também as revogadas."
    ),
    "The id in `recado keys list`.": "O id em `recado keys list`.",
    "The key ends after so many days.": "A chave vale por tantos dias.",
    "What the key is for; it stands at what is done with it.": "Para que é a chave; fica no que é feito com ela.",
    "What the key may do; without it, all that a key may do.": (
        "O que a chave pode fazer; sem isto, tudo o que uma chave pode."
    ),
    "Show who did or read what.": "Mostrar quem fez ou leu o quê.",
    "List the newest entries: who, from where, what, and the thing it was done to.": (
        "Lista os registros mais novos: quem, de onde, o quê, e em que foi feito."
    ),
    "The most entries to show.": "No máximo tantos registros.",
    # Sentences.
    "Added {email}. Their id: {id}": "{email} foi acrescentado. O id: {id}",
    "{email} can sign in no more.": "{email} não pode mais entrar.",
    "{email} can sign in again.": "{email} pode entrar de novo.",
    "{email} is now: {role}.": "{email} agora é: {role}.",
    "A worker mails {email} a link to choose a password.": ("Um worker envia a {email} um link para escolher a senha."),
    "No mail can be sent from here. Hand {email} this link; it is shown only now:\n{link}": (
        "Daqui não sai e-mail. Entregue este link a {email}; ele só é mostrado agora:\n{link}"
    ),
    "{key}\nThis key is shown only now. Its id: {id}": "{key}\nEsta chave só é mostrada agora. O id: {id}",
    "The key {name} is revoked.": "A chave {name} está revogada.",
    "There are no keys; make one with: recado keys create": "Não há chaves; crie uma com: recado keys create",
    "Nobody has done anything yet.": "Ninguém fez nada ainda.",
    # Headings.
    "User": "Usuário",
    "E-mail": "E-mail",
    "Role": "Papel",
    "Scopes": "Escopos",
    "Ends": "Termina",
    "At": "Quando",
    "Who": "Quem",
    "Did": "Fez",
    "To": "Em",
    # Errors.
    "{email} is registered already; use another address": "{email} já está cadastrado; use outro endereço",
    "{email} is the last owner who can sign in; make another user an owner first": (
        "{email} é o último owner que pode entrar; antes, faça owner outro usuário"
    ),
    "{email} was disabled; enable them first: recado users enable {id}": (
        "{email} foi desativado; antes, ative de novo: recado users enable {id}"
    ),
    "{text} is not a role: use {names}": "{text} não é um papel: use {names}",
    "{scope} is no scope: use {names}": "{scope} não é um escopo: use {names}",
    "a key needs a scope: use {names}": "uma chave precisa de um escopo: use {names}",
    "the end of the key is past; give a later one, or none": ("o fim da chave já passou; dê um posterior, ou nenhum"),
}
