"""What the help of commands about people, keys and events says, in Portuguese."""

from collections.abc import Mapping
from typing import Final

HELP_PEOPLE: Final[Mapping[str, str]] = {
    "The e-mail address of the first user, who may do everything.": (
        "O e-mail do primeiro usuário, que pode fazer tudo."
    ),
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
    "List the conversations that are not closed, latest activity first, or those that other options choose.": (
        "Lista as conversas não encerradas, a mais recente primeiro, ou as que outras opções escolhem."
    ),
    "active, open, idle, closed or all.": "active, open, idle, closed ou all.",
    "agent, person or nobody.": "agent, person ou nobody.",
    "Those that wait for a person, longest first.": "As que esperam uma pessoa, há mais tempo primeiro.",
    "Those with a message that has these words.": "As que têm uma mensagem com estas palavras.",
    "Show what was said in a conversation, and what became of each message. That it was read is written down.": (
        "Mostra o que foi dito numa conversa, e o que houve com cada mensagem. A leitura fica registrada."
    ),
    "Read what happened, see what was delivered, and send events again.": (
        "Ler o que aconteceu, ver o que foi entregue, e mandar eventos de novo."
    ),
    "Read events, and send them to servers of yours.": "Ler eventos, e mandá-los aos seus servidores.",
    "List what happened, the oldest first. Events are kept for 30 days.": (
        "Lista o que aconteceu, o mais antigo primeiro. Eventos ficam 30 dias."
    ),
    "Only what happened after this event.": "Só o que aconteceu depois deste evento.",
    "How many at most.": "Quantos no máximo.",
    "List what was sent to an endpoint, the newest first, and how it ended.": (
        "Lista o que foi mandado a um endpoint, o mais novo primeiro, e como acabou."
    ),
    "`recado events endpoints list` shows the ids.": "`recado events endpoints list` mostra os ids.",
    "Only what was not delivered.": "Só o que não foi entregue.",
    "Send events to an endpoint again, with the ids that they had: one of them, or all since a time.": (
        "Manda eventos a um endpoint de novo, com os mesmos ids: um deles, ou todos desde um momento."
    ),
    "Send this event again, and no other.": "Manda de novo este evento, e nenhum outro.",
    "Send again what happened since then: 2026-03-14T12:00:00Z.": (
        "Manda de novo o que aconteceu desde então: 2026-03-14T12:00:00Z."
    ),
    "Add, change and remove the servers of yours to which events are sent.": (
        "Cadastrar, mudar e remover os seus servidores que recebem eventos."
    ),
    "List the endpoints of an organisation, and how they are.": (
        "Lista os endpoints de uma organização, e como estão."
    ),
    "Add an endpoint. It is sent what happens from now on. The secret that signs is shown once.": (
        "Cadastra um endpoint. Ele recebe o que acontecer daqui em diante. O segredo que assina é mostrado uma vez."
    ),
    "Where events are posted: https://…": "Para onde os eventos vão: https://…",
    "Only these types, with commas between them. All without it.": (
        "Só estes tipos, com vírgulas entre eles. Sem isso, todos."
    ),
    "The URL may lead into a private network, or to this machine.": (
        "A URL pode levar a uma rede privada, ou a esta máquina."
    ),
    'Change where an endpoint is, or what it is sent. `--types ""` sends every type.': (
        'Muda onde um endpoint está, ou o que recebe. `--types ""` manda todos os tipos.'
    ),
    "The id in `recado events endpoints list`.": "O id em `recado events endpoints list`.",
    "Where events are posted from now on.": "Para onde os eventos vão daqui em diante.",
    "Switch an endpoint off. Nothing more is sent to it.": "Desliga um endpoint. Nada mais vai para ele.",
    "Switch an endpoint on again. It is sent what has happened since.": (
        "Liga um endpoint de novo. Ele recebe o que aconteceu desde então."
    ),
    "Make a new secret, and show it once. The old one signs beside it for 24 hours.": (
        "Cria um segredo novo, e o mostra uma vez. O antigo assina junto por 24 horas."
    ),
    "Remove an endpoint, with the log of what was sent to it.": (
        "Remove um endpoint, com o registro do que foi mandado a ele."
    ),
}
