"""What the help of commands about people, keys and events says, in Portuguese."""

from collections.abc import Mapping
from typing import Final

HELP_PEOPLE: Final[Mapping[str, str]] = {
    "Add, invite and list people, and say what they may do.": "Cadastrar, convidar e listar pessoas e o que podem.",
    "Add a user with a password. The user can sign in at once.": (
        "Cadastra um usuário com senha. Ele pode entrar na hora."
    ),
    "The e-mail address with which the person signs in.": "O e-mail com que a pessoa entra.",
    "owner, admin, operator or viewer.": "owner, admin, operator ou viewer.",
    "The name that stands at what the person does.": "O nome que aparece no que a pessoa faz.",
    "Add a user, who chooses a password by a link. The link is mailed, or printed where no mail can be sent.": (
        "Cadastra um usuário, que escolhe a senha por um link. O link vai por e-mail, ou é mostrado onde não há e-mail."
    ),
    "Send a user a link to choose a password. It is mailed, or printed where no mail can be sent.": (
        "Manda a um usuário um link para escolher a senha. Vai por e-mail, ou é mostrado onde não há e-mail."
    ),
    "The id in `recado users list`.": "O id em `recado users list`.",
    "Let a user in no more, and sign the user out everywhere.": (
        "Não deixa mais um usuário entrar, e o desconecta de tudo."
    ),
    "Let a user in again.": "Deixa um usuário entrar de novo.",
    "Give a user another role, and sign the user out everywhere.": (
        "Dá a um usuário outro papel, e o desconecta de tudo."
    ),
    "Create, list and revoke the API keys of programs.": "Criar, listar e revogar chaves de API de programas.",
    "Create an API key. It is shown now and never again.": (
        "Cria uma chave de API. Ela é mostrada agora e nunca mais."
    ),
    "What the key is for; it stands at what is done with it.": (
        "Para que serve a chave; aparece no que for feito com ela."
    ),
    "What the key may do; without it, all that a key may do.": (
        "O que a chave pode fazer; sem isso, tudo o que uma chave pode."
    ),
    "The key ends after so many days.": "A chave vence depois de tantos dias.",
    "End an API key at once. A second call changes nothing.": (
        "Encerra uma chave de API na hora. Repetir não muda nada."
    ),
    "The id in `recado keys list`.": "O id em `recado keys list`.",
    "List an organisation's API keys, revoked ones too.": (
        "Lista as chaves de API de uma organização, também as revogadas."
    ),
    "Show who did or read what.": "Mostrar quem fez ou leu o quê.",
    "List the newest entries: who, from where, what, and the thing it was done to.": (
        "Lista as entradas mais novas: quem, de onde, o quê, e em que coisa."
    ),
    "The most entries to show.": "Quantas entradas mostrar no máximo.",
}
