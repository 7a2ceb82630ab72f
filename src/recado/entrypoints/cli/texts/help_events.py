"""What the help of commands about events says, in Portuguese."""

from collections.abc import Mapping
from typing import Final

HELP_EVENTS: Final[Mapping[str, str]] = {
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
    "Remove an endpoint, with the log of what was sent to it.": (
        "Remove um endpoint, com o registro do que foi mandado a ele."
    ),
}
