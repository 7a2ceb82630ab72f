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
    "{sid} was sent to {to}.": "{sid} foi enviada para {to}.",
    "No answer within {seconds} s.": "Sem resposta em {seconds} s.",
    "none": "nenhum",
    "the emulator has no webhook for {to}: start it with --webhook URL": (
        "o emulador não tem webhook para {to}: inicie-o com --webhook URL"
    ),
    "{to} is not the emulator's, so no webhook was called: start it with --number {to} (its numbers: {others})": (
        "{to} não é do emulador, e nenhum webhook foi chamado: inicie-o com --number {to} (os números dele: {others})"
    ),
    "E-mail of the first user (empty: register no one)": "E-mail do primeiro usuário (vazio: não cadastrar ninguém)",
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
    "well": "tudo bem",
    "--url must begin with http:// or https://": "--url precisa começar com http:// ou https://",
    "{url} answers {status}": "{url} responde {status}",
    "nothing answers at {url}: {why}": "nada responde em {url}: {why}",
    "{file} is not there: the worker has not come up, or has another --health-file": (
        "{file} não existe: o worker não subiu, ou tem outro --health-file"
    ),
    "the worker last showed life {seconds} s ago": "o último sinal de vida do worker foi há {seconds} s",
    "Recado listens at {url}; stop it with Ctrl-C.": "O Recado escuta em {url}; pare com Ctrl-C.",
    "Webhook of each number at Twilio (POST): {webhook}": "Webhook de cada número no Twilio (POST): {webhook}",
    "Twilio cannot reach that address; `recado emulator` on this machine can.": (
        "O Twilio não alcança esse endereço; `recado emulator` nesta máquina alcança."
    ),
    "The worker runs jobs; stop it with Ctrl-C.": "O worker executa jobs; pare com Ctrl-C.",
    "Health: {url}/readyz": "Saúde: {url}/readyz",
    "Nothing is answered until a worker runs: type `recado worker` in another terminal.": (
        "Nada é respondido enquanto não houver um worker: digite `recado worker` em outro terminal."
    ),
    "{file} holds the database: {size} MB at schema {schema}.": (
        "{file} guarda o banco de dados: {size} MB no esquema {schema}."
    ),
    "The database was at schema {before} and is at {after} now.": (
        "O banco de dados estava no esquema {before} e agora está em {after}."
    ),
    "The database is at schema {schema}, the schema of this release.": (
        "O banco de dados está no esquema {schema}, o desta versão."
    ),
    "{dropped} jobs dropped, {left} sends left to look up, {numbers} numbers.": (
        "{dropped} jobs descartados, {left} envios ainda a procurar, {numbers} números."
    ),
    "No agent is set; begin with: recado agents set": "Nenhum agente escolhido; comece com: recado agents set",
    "Added {documents} document{s} of {chunks} passage{t}.": (
        "Documentos acrescentados: {documents}; trechos: {chunks}."
    ),
    "There are no documents; begin with: recado knowledge add": "Não há documentos; comece com: recado knowledge add",
    "No passage matches.": "Nenhum trecho combina.",
    "{name} was removed.": "{name} foi removido.",
    "There are no users; begin with: recado org register": "Não há usuários; comece com: recado org register",
    "Registered {name}. Its id, for --owner: {id}": "{name} está cadastrada. O id, para --owner: {id}",
    "No organisation is registered; begin with: recado org register": (
        "Nenhuma organização cadastrada; comece com: recado org register"
    ),
    "{name} is closed; recado org reopen takes it back.": "{name} está fechada; recado org reopen desfaz.",
    "{name} is open.": "{name} está aberta.",
    "{rows} rows are in {file}, which only you can read.": "{rows} registros estão em {file}, que só você pode ler.",
    "A worker deletes everything of the organisation; --wait shows how far it is.": (
        "Um worker apaga tudo da organização; --wait mostra até onde chegou."
    ),
    "Everything of the organisation is deleted.": "Tudo da organização está apagado.",
    "{rows} rows deleted": "{rows} registros apagados",
    "no worker has begun yet; one must run: recado worker": (
        "nenhum worker começou ainda; um precisa rodar: recado worker"
    ),
    "something of the organisation is under way": "algo da organização ainda está em andamento",
    "the purge has failed ({why}): give the order again": "a exclusão falhou ({why}): dê a ordem de novo",
    "purged rows": "registros apagados",
    "{count} violation of the promise": "{count} violação da promessa",
    "{count} violations of the promise": "{count} violações da promessa",
    "No violations.": "Nenhuma violação.",
    "There are no conversations.": "Não há conversas.",
    "A person holds the conversation now.": "Uma pessoa está com a conversa agora.",
    "The reply is stored; a worker sends it.": "A resposta está guardada; um worker a envia.",
    "The agent holds the conversation again.": "O agente está com a conversa de novo.",
    "There are no schedules.": "Não há agendas.",
    "{name} is job {id}; a worker will run it.": "{name} é o job {id}; um worker vai executá-lo.",
    "There are no dead letters.": "Não há dead letters.",
    "These are the oldest {shown} of {count}; --json lists them all.": (
        "Estas são as {shown} mais antigas de {count}; --json lista todas."
    ),
    "{done} of {total} dead letters handled: {refused} refused": (
        "{done} de {total} dead letters tratadas: {refused} recusadas"
    ),
    "{count} dead letter will be retried by a worker.": "{count} dead letter vai ser tentada de novo por um worker.",
    "{count} dead letters will be retried by a worker.": (
        "{count} dead letters vão ser tentadas de novo por um worker."
    ),
    "… and {count} more: {why}": "… e mais {count}: {why}",
    "{id} was discarded.": "{id} foi descartado.",
    "{jobs} jobs run, {leases} leases freed, {due} still due.": (
        "{jobs} jobs executados, {leases} leases liberadas, {due} ainda da vez."
    ),
    "There are no orphans.": "Não há mensagens sem dono.",
    "{id} was accepted; a worker will handle it.": "{id} foi aceita; um worker cuida dela.",
    "{address} is ready: point its webhook at /webhooks/twilio/messages under RECADO_PUBLIC_URL.": (
        "{address} está pronto: aponte o webhook para /webhooks/twilio/messages sob RECADO_PUBLIC_URL."
    ),
    "Twilio confirms {address} and its account.": "O Twilio confirma {address} e a conta.",
    "{address} is removed: point its webhook elsewhere at Twilio.": (
        "{address} foi removido: aponte o webhook no Twilio para outro lugar."
    ),
    "There are no numbers; begin with: recado numbers add": "Não há números; comece com: recado numbers add",
    "The emulator listens at {url} (account {account}); stop it with Ctrl-C.": (
        "O emulador escuta em {url} (conta {account}); pare com Ctrl-C."
    ),
    "yes": "sim",
    "no": "não",
    "Address": "Endereço",
    "Account": "Conta",
    "Contact": "Contato",
    "Held by": "Com quem",
    "Status": "Situação",
    "Waits": "Espera",
    "Waiting": "Esperam",
    "Running": "Rodam",
    "Dead": "Mortos",
    "Oldest due": "Mais atrasado",
    "What": "O quê",
    "Refused": "Recusado",
    "Why": "Motivo",
    "Message": "Mensagem",
    "Violation": "Violação",
    "Name": "Nome",
    "Owner": "Organização",
    "Agent": "Agente",
    "Active": "Ativo",
    "At {number} the organisation's active agent answers.": "Em {number} responde o agente ativo da organização.",
    "Model": "Modelo",
    "accepted": "aceitas",
    "open": "abertas",
    "more violations": "mais violações",
    "paused accounts": "contas em pausa",
    "parts that arrived twice by policy": "partes que chegaram duas vezes por política",
    "unknown sends": "envios incertos",
    "not claimed by any worker": "sem worker que as pegue",
    "Exit codes:": "Códigos de saída:",
    "done": "feito",
    "failed, or a check found something (standard error says what)": (
        "falhou, ou uma conferência achou algo (a saída de erro diz o quê)"
    ),
    "the settings or the command line are wrong": "as configurações ou a linha de comando estão erradas",
    "interrupted with Ctrl-C; what was done before stays done": "interrompido com Ctrl-C; o que foi feito antes fica",
    "settings": "configurações",
    "database": "banco",
    "complete; the other checks try them": "completas; as outras conferências as experimentam",
    "{path} does not exist yet; recado migrate or recado serve creates it": (
        "{path} ainda não existe; recado migrate ou recado serve o cria"
    ),
    "{path} is at schema {schema}": "{path} está no esquema {schema}",
    "PostgreSQL is at schema {schema}": "O PostgreSQL está no esquema {schema}",
    "a trial row was stored and deleted": "uma linha de teste foi guardada e apagada",
    "no owner is registered yet": "nenhuma organização cadastrada ainda",
    "RECADO_SECRET_KEY opens the keys of all owners ({count})": (
        "RECADO_SECRET_KEY abre as chaves de todas as organizações ({count})"
    ),
    "all stored credentials can be opened ({count})": "todas as credenciais guardadas abrem ({count})",
    "files": "arquivos",
    "{path} is open to other users of this machine ({mode}): chmod 600 {path}": (
        "{path} está aberto a outros usuários desta máquina ({mode}): chmod 600 {path}"
    ),
    "{file} is read, variables: {count}": "{file} é lido, variáveis: {count}",
    "{file} is read, variables: {count}; other values win for {names}": (
        "{file} é lido, variáveis: {count}; outros valores vencem para {names}"
    ),
    "The new secret, shown only now: {secret}. The old one is valid for 24 hours more.": (
        "O segredo novo, mostrado só agora: {secret}. O antigo vale por mais 24 horas."
    ),
    "The endpoint is removed.": "O endpoint foi removido.",
    "There are no endpoints.": "Não há endpoints.",
    "Endpoint {id} is added. Its secret, shown only now: {secret}": (
        "O endpoint {id} foi cadastrado. O segredo dele, mostrado só agora: {secret}"
    ),
    "The endpoint is changed.": "O endpoint foi mudado.",
    "The endpoint is switched off.": "O endpoint está desligado.",
    "The endpoint is switched on.": "O endpoint está ligado.",
    "The events are stored; a worker sends them.": "Os eventos estão guardados; um worker os manda.",
    "Nothing has happened.": "Nada aconteceu.",
    "Nothing was sent to it.": "Nada foi mandado a ele.",
    "Type": "Tipo",
    "Types": "Tipos",
    "State": "Estado",
    "When": "Quando",
    "Event": "Evento",
    "Attempts": "Tentativas",
    "Last answer": "Última resposta",
    "No mail can be sent from here. Hand this link to {email}; it is shown only now:\n{link}": (
        "Daqui não se pode mandar e-mail. Entregue este link a {email}; ele é mostrado só agora:\n{link}"
    ),
    "{text}\nThis key is shown only now. Its id: {id}": "{text}\nEsta chave é mostrada só agora. O id dela: {id}",
    "API: {url}/docs (a key for it: recado keys create)": "API: {url}/docs (uma chave para ela: recado keys create)",
    "Id": "Id",
    "URL": "URL",
    "E-mail": "E-mail",
    "Document": "Documento",
    "Passages": "Trechos",
    "Passage": "Trecho",
    "Coverage": "Cobertura",
    "Addresses": "Endereços",
    "To": "Para",
    "Received": "Recebida",
    "At": "Quando",
    "Who": "Quem",
    "Did": "Fez",
    "Scopes": "Permissões",
    "Ends": "Vence",
    "Role": "Papel",
    "User": "Usuário",
    "Last slot": "Último horário",
    "Next slot": "Próximo horário",
    "all": "todas",
    "off": "desligada",
    "every {count} d": "a cada {count} d",
    "every {count} h": "a cada {count} h",
    "every {count} min": "a cada {count} min",
    "every {count} s": "a cada {count} s",
    "revoked": "revogada",
    "blocked": "bloqueado",
    "opted out": "recusou mensagens",
    "{role} (disabled)": "{role} (desativado)",
    "owner id": "id da organização",
    "name": "nome",
    "email": "e-mail",
    "locale": "língua",
    "apology": "pedido de desculpas",
    "hand off": "aviso de pessoa",
    "nudge": "lembrete",
    "send policy": "política de envio",
    "stop words": "palavras de recusa",
    "start words": "palavras de volta",
    "closed at": "fechada em",
    "purge started at": "exclusão desde",
    "agent": "agente",
    "active": "ativo",
    "model": "modelo",
    "number": "número",
    "base url": "base URL",
    "url": "URL",
    "prompt": "prompt",
    "history": "histórico",
    "allow private": "rede privada",
    "has api key": "tem chave de API",
    "has secret": "tem segredo",
    "secret": "segredo",
    "when": "quando",
    "time zone": "fuso",
    "enabled": "ligada",
    "last slot": "último horário",
    "next slot": "próximo horário",
    "These are the first {shown}; --json lists them all.": "Estas são as primeiras {shown}; --json lista todas.",
    "There are no contacts.": "Não há contatos.",
    "The name is stored.": "O nome está guardado.",
    "The contact is blocked.": "O contato está bloqueado.",
    "The contact is unblocked.": "O contato está desbloqueado.",
    "The opt-out is stored.": "A recusa está registrada.",
    "The opt-out is lifted.": "A recusa foi retirada.",
    "The conversation is closed.": "A conversa está encerrada.",
    "The conversation is assigned.": "A conversa está atribuída.",
    "No user is assigned.": "A conversa não está atribuída a ninguém.",
    "There are no entries.": "Não há entradas.",
    "The key {name} is revoked.": "A chave {name} está revogada.",
    "There are no keys; make one with: recado keys create": "Não há chaves; crie uma com: recado keys create",
    "Added {email}. Their id: {id}": "{email} está cadastrado. O id: {id}",
    "{email} can sign in no more.": "{email} não pode mais entrar.",
    "{email} can sign in again.": "{email} pode entrar de novo.",
    "{email} is now: {role}.": "{email} agora é: {role}.",
    "A worker mails {email} a link to choose a password.": (
        "Um worker manda por e-mail a {email} um link para escolher a senha."
    ),
    "Set RECADO_QUEUE_BACKEND={name} and restart the processes, one after the other: they use {name} from then on. "
    "Waiting jobs with a new wake-up: {count}.": (
        "Ponha RECADO_QUEUE_BACKEND={name} e reinicie os processos, um depois do outro: daí em diante usam {name}. "
        "Jobs que esperam, com um aviso novo: {count}."
    ),
    "{why}; `recado queue retry --all` continues with the rest": (
        "{why}; `recado queue retry --all` continua com o resto"
    ),
    "Password": "Senha",
    "version {version}": "versão {version}",
    "PostgreSQL keeps committed data": "o PostgreSQL guarda o que foi confirmado",
    "transactions of owners run as {login}, which can become nothing else": (
        "as transações das organizações rodam como {login}, que não pode virar outro"
    ),
    "transactions of owners share the login of the URL, so policies keep them apart but an attacker's SQL could leave "
    "them; the log of recado migrate says why": (
        "as transações das organizações usam o login da URL: as políticas as separam, mas o SQL de um invasor poderia "
        "sair delas; o log de recado migrate diz por quê"
    ),
    "the database did not answer within {seconds} s": "o banco de dados não respondeu em {seconds} s",
    "account {account} of owner {owner} sends nothing until {moment} UTC ({reason})": (
        "a conta {account} da organização {owner} não envia nada até {moment} UTC ({reason})"
    ),
    "{count} of {total} stored credentials cannot be opened, those of {names}: store them again with `recado numbers "
    "add`": (
        "{count} de {total} credenciais guardadas não abrem, as de {names}: guarde-as de novo com `recado numbers add`"
    ),
    "RECADO_SECRET_KEY opens the keys of {count} of {total} owners, but not those of {names}: {why}": (
        "RECADO_SECRET_KEY abre as chaves de {count} de {total} organizações, mas não as de {names}: {why}"
    ),
    "they were sealed with another RECADO_SECRET_KEY, and one must open the keys of all owners": (
        "foram cifradas com outra RECADO_SECRET_KEY, e uma só precisa abrir as de todas"
    ),
    "their rows were changed; restore them from a backup": "as linhas foram alteradas; restaure-as de um backup",
    "PostgreSQL's synchronous_commit is {value}; Recado sets it to on for itself": (
        "o synchronous_commit do PostgreSQL é {value}; o Recado usa on para si"
    ),
    "PostgreSQL runs with fsync=off: a crash of its machine loses or corrupts committed data; set fsync=on": (
        "o PostgreSQL roda com fsync=off: uma queda da máquina perde ou corrompe o que foi confirmado; ponha fsync=on"
    ),
    "PostgreSQL runs with full_page_writes=off: a crash of its machine can corrupt pages; set full_page_writes=on": (
        "o PostgreSQL roda com full_page_writes=off: uma queda da máquina pode corromper páginas; ponha "
        "full_page_writes=on"
    ),
    "the PostgreSQL database has the encoding {name}, which cannot store what customers write: create another with "
    "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0": (
        "o banco PostgreSQL tem a codificação {name}, que não guarda tudo o que clientes escrevem: crie outro com "
        "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    ),
    "SQLite {version} can corrupt a database that several processes write: use {least}": (
        "o SQLite {version} pode corromper um banco em que vários processos escrevem: use {least}"
    ),
    "reachable, {detail}; it carries wake-ups, and `recado queue` shows the jobs": (
        "alcançado, {detail}; leva os avisos de trabalho, e `recado queue` mostra os jobs"
    ),
    "RECADO_SMTP_URL names no mail server, so `recado users invite` prints its links": (
        "RECADO_SMTP_URL não nomeia um servidor de e-mail: `recado users invite` mostra os links"
    ),
    "RECADO_SMTP_FROM is set, but no mail is sent without RECADO_SMTP_URL": (
        "RECADO_SMTP_FROM está definida, mas nenhum e-mail sai sem RECADO_SMTP_URL"
    ),
    "the mail server {place} lets us in; no mail was sent": (
        "o servidor de e-mail {place} nos deixa entrar; nenhum e-mail foi enviado"
    ),
    "the mail server {place} did not let us in within {seconds} s: look at RECADO_SMTP_URL (a port that begins with "
    "TLS, such as 465, needs smtps://)": (
        "o servidor de e-mail {place} não nos deixou entrar em {seconds} s: veja RECADO_SMTP_URL (uma porta que começa "
        "com TLS, como 465, precisa de smtps://)"
    ),
    "the mail server {place} refuses the name and password of RECADO_SMTP_URL ({code})": (
        "o servidor de e-mail {place} recusa o nome e a senha de RECADO_SMTP_URL ({code})"
    ),
    "the mail server {place} offers no TLS, without which nothing is sent: name another port or server in "
    "RECADO_SMTP_URL": (
        "o servidor de e-mail {place} não oferece TLS, sem o qual nada é enviado: nomeie outra porta ou outro servidor "
        "em RECADO_SMTP_URL"
    ),
    "the mail server {place} answered {code}: ask who runs it, or name another server in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} respondeu {code}: pergunte a quem cuida dele, ou nomeie outro em RECADO_SMTP_URL"
    ),
    "the mail server {place} hung up: look at host and port in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} desligou: veja host e porta em RECADO_SMTP_URL"
    ),
    "the mail server {place} does not speak SMTP: look at host and port in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} não fala SMTP: veja host e porta em RECADO_SMTP_URL"
    ),
    "the mail server {place} takes no name and password: take them out of RECADO_SMTP_URL": (
        "o servidor de e-mail {place} não recebe nome e senha: tire-os de RECADO_SMTP_URL"
    ),
    "the mail server {place} shows a certificate that does not hold ({error}): mend the host in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} mostra um certificado que não vale ({error}): corrija o host em RECADO_SMTP_URL"
    ),
    "the mail server {place} does not begin with TLS: write RECADO_SMTP_URL with smtp:// (usually port 587)": (
        "o servidor de e-mail {place} não começa com TLS: escreva RECADO_SMTP_URL com smtp:// (em geral a porta 587)"
    ),
    "the mail server {place} is not known to this machine: mend the host in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} não é conhecido desta máquina: corrija o host em RECADO_SMTP_URL"
    ),
    "the mail server {place} cannot be reached ({error}): look at host and port in RECADO_SMTP_URL": (
        "o servidor de e-mail {place} não foi alcançado ({error}): veja host e porta em RECADO_SMTP_URL"
    ),
    "mail": "e-mail",
    "write": "escrita",
    "key": "chave",
    "credentials": "credenciais",
    "durability": "durabilidade",
    "tenants": "organizações",
    "encoding": "codificação",
    "mode": "modo",
    "paused": "em pausa",
}
