"""What commands say, in Portuguese."""

from collections.abc import Mapping
from typing import Final

SENTENCES: Final[Mapping[str, str]] = {
    "Error:": "Erro:",
    "Try '{command} --help' for help.": "Veja '{command} --help'.",
    "interrupted": "interrompido",
    "Warning:": "Aviso:",
    "Working …": "Trabalhando …",
    "{share} copied": "{share} copiados",
    # --- agents
    "the agent is set, but on this machine no run can succeed: {problem}": (
        "o agente está escolhido, mas nesta máquina nenhuma execução dá certo: {problem}"
    ),
    "{seconds} s; tokens: {read} in, {written} out": "{seconds} s; tokens: {read} lidos, {written} escritos",
    "Then a person is called: {reason}": "Depois uma pessoa é chamada: {reason}",
    "The agent says nothing.": "O agente não diz nada.",
    "after {attempts} attempts": "depois de {attempts} tentativas",
    "at once": "na hora",
    "The customer gets the text above {when}, and a dead letter is kept.": (
        "O cliente recebe o texto acima {when}, e uma dead letter fica guardada."
    ),
    # --- emulator
    "{sid} was sent to {to}.": "{sid} foi enviada para {to}.",
    "No answer within {seconds} s.": "Sem resposta em {seconds} s.",
    "none": "nenhum",
    "the emulator has no webhook for {to}: start it with --webhook URL": (
        "o emulador não tem webhook para {to}: inicie-o com --webhook URL"
    ),
    "{to} is nobody's number, no webhook was called: start the emulator with --number {to} (its numbers: {others})": (
        "{to} não é número de ninguém, e nenhum webhook foi chamado: inicie o emulador com --number {to} "
        "(os números dele: {others})"
    ),
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
    # --- health
    "well": "tudo bem",
    "--url must begin with http:// or https://": "--url precisa começar com http:// ou https://",
    "{url} answers {status}": "{url} responde {status}",
    "nothing answers at {url}: {why}": "nada responde em {url}: {why}",
    "{file} is not there: the worker has not come up, or has another --health-file": (
        "{file} não existe: o worker não subiu, ou tem outro --health-file"
    ),
    "the worker last showed life {seconds} s ago": "o último sinal de vida do worker foi há {seconds} s",
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
