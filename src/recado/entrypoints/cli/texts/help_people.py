"""What the help of commands about people, customers, keys and the audit says, in Portuguese."""

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
    "Only about this kind of thing, or about this one thing.": "Só sobre este tipo de coisa, ou só sobre esta coisa.",
    "The most entries to show.": "Quantas entradas mostrar no máximo.",
    "List, name, block and opt out customers.": "Listar, nomear, bloquear clientes e parar mensagens.",
    "List contacts, the newest first.": "Lista os contatos, o mais novo primeiro.",
    "Only the contact of this address, such as +5511987654321.": "Só o contato deste endereço, como +5511987654321.",
    "Only those that are blocked.": "Só os bloqueados.",
    "Only those that want no messages.": "Só os que recusaram mensagens.",
    "The id in `recado contacts list`.": "O id em `recado contacts list`.",
    "Give a contact a name that the customer's profile does not change.": (
        "Dá a um contato um nome que o perfil do cliente não muda."
    ),
    "The name; without it the customer's profile counts again.": "O nome; sem ele volta a valer o do perfil.",
    "Answer a contact no more. Nothing is sent to it either, not even what waits to be sent.": (
        "Bloqueia um contato. Ele não é mais respondido, e nada mais é enviado a ele, nem o que já esperava envio."
    ),
    "Answer a contact again, from the next message on.": "Volta a responder um contato, a partir da próxima mensagem.",
    "Store that a contact wants no messages.": "Registra que um contato não quer mensagens.",
    "Store that a contact wants messages again.": "Registra que um contato quer mensagens de novo.",
}
