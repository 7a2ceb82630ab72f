"""What errors of services say, in Portuguese: agents, numbers, conversations, people, events and the queue."""

from collections.abc import Mapping
from typing import Final

ERRORS_SERVICES: Final[Mapping[str, str]] = {
    # Agents and their documents.
    "the agent's server answered {status}": "o servidor do agente respondeu {status}",
    "the agent's server answered something else than application/json": (
        "o servidor do agente respondeu algo que não é application/json"
    ),
    "the agent's server compressed its answer although asked not to": (
        "o servidor do agente comprimiu a resposta, embora lhe fosse pedido que não"
    ),
    "the agent's server answered JSON of another shape": "o servidor do agente respondeu um JSON de outra forma",
    "the agent's server took too long": "o servidor do agente demorou demais",
    "the agent's URL leads to an address that is not public": "a URL do agente leva a um endereço que não é público",
    "the agent's server could not be reached: {reason}": "o servidor do agente não foi alcançado: {reason}",
    "it could not be reached: {reason}": "não foi alcançado: {reason}",
    "no answer in time": "sem resposta a tempo",
    "the URL leads to an address that is not public": "a URL leva a um endereço que não é público",
    "its URL cannot be called": "a URL dele não pode ser chamada",
    "the connection was refused": "a conexão foi recusada",
    "the connection broke": "a conexão caiu",
    "its name was not found": "o nome dele não foi encontrado",
    "its certificate is not valid": "o certificado dele não vale",
    "TLS failed": "o TLS falhou",
    "no connection": "sem conexão",
    "it answered {status}": "respondeu {status}",
    "the agent's server answered more than {size} KB": "o servidor do agente respondeu mais de {size} KB",
    "the http agent has no URL or no secret; set it again": (
        "o agente http não tem URL ou não tem segredo; escolha-o de novo"
    ),
    "the llm agent has no model; set it again": "o agente llm não tem modelo; escolha-o de novo",
    "the provider {name} takes no API key": "o provedor {name} não usa chave de API",
    "{name} is not a text file; Markdown and plain text are understood": (
        "{name} não é um arquivo de texto; Markdown e texto puro são entendidos"
    ),
    "{name} has more than {most} passages; split it into smaller documents": (
        "{name} tem mais de {most} trechos; divida-o em documentos menores"
    ),
    "{name} holds no text to answer from": "{name} não tem texto de que responder",
    "line {number} of {name} has {length} characters, {most} at most; make paragraphs of it": (
        "a linha {number} de {name} tem {length} caracteres, e o máximo é {most}; divida-a em parágrafos"
    ),
    "a document needs a name of 1 to 200 printable characters": (
        "um documento precisa de um nome de 1 a 200 caracteres visíveis"
    ),
    "these files are more than {most} MB; add fewer at a time": (
        "estes arquivos passam de {most} MB; acrescente menos por vez"
    ),
    "the http agent is at one address; give url or base_url, not both": (
        "o agente http está em um só endereço; dê url ou base_url, não os dois"
    ),
    "{name} is where a cloud hands out this machine's own keys; no agent is there": (
        "{name} é onde uma nuvem entrega as chaves desta máquina; não há agente lá"
    ),
    "{name} is a private address, which only the operator may allow (`recado agents set`)": (
        "{name} é um endereço privado, que só o operador pode permitir (`recado agents set`)"
    ),
    "history_limit must be between 0 and {most}": "history_limit precisa estar entre 0 e {most}",
    "the faq agent needs a history of at least 1: whether it has just offered a person": (
        "o agente faq precisa de um histórico de pelo menos 1: se acabou de oferecer uma pessoa"
    ),
    "the prompt has {length} characters; {most} at most": "o prompt tem {length} caracteres; o máximo é {most}",
    "the prompt is no text: it has control characters or half characters": (
        "o prompt não é um texto: tem caracteres de controle ou meios caracteres"
    ),
    "that is not the name of a model": "isso não é o nome de um modelo",
    "the llm agent needs an API key": "o agente llm precisa de uma chave de API",
    "the API key has characters that no key has, or is too long": (
        "a chave de API tem caracteres que nenhuma chave tem, ou é longa demais"
    ),
    "{name} is too long: {length} characters, {most} at most": (
        "{name} é longo demais: {length} caracteres, e o máximo é {most}"
    ),
    "{name} is not a URL; write it as https://host/path": "{name} não é uma URL; escreva como https://host/caminho",
    "{name} must not hold a user name, a password or spaces": (
        "{name} não pode ter nome de usuário, senha nem espaços"
    ),
    "{name} must start with https://; plain http is for loopback and private networks only": (
        "{name} precisa começar com https://; http puro é só para esta máquina e redes privadas"
    ),
    # Numbers and orphans.
    "there is no number {id}": "não existe o número {id}",
    "{address} is not an address": "{address} não é um endereço",
    "{address} names the channel {channel}; use whatsapp:+… or a bare +… for SMS": (
        "{address} nomeia o canal {channel}; use whatsapp:+… ou só +… para SMS"
    ),
    "{address} is not a phone number; write it as +5511987654321 or whatsapp:+5511987654321": (
        "{address} não é um número de telefone; escreva como +5511987654321 ou whatsapp:+5511987654321"
    ),
    "the auth token is empty; put it into the variable that --auth-token-env names": (
        "o auth token está vazio; ponha-o na variável que --auth-token-env nomeia"
    ),
    "other owners store {count} different auth tokens of {account}, which has two at most; give them the true one "
    "first: recado numbers add --check": (
        "outras organizações guardam {count} auth tokens diferentes de {account}, que tem no máximo dois; dê antes a "
        "elas o verdadeiro: recado numbers add --check"
    ),
    "another request added {address} at the same moment": "outro pedido cadastrou {address} no mesmo momento",
    "Twilio did not answer within {seconds} seconds at {url}": (
        "o Twilio não respondeu em {seconds} segundos em {url}"
    ),
    "account {account} is {status} at Twilio": "a conta {account} está {status} no Twilio",
    "the auth token was confirmed, but not that {address} belongs to {account}: Twilio does not list its numbers (HTTP "
    "{status})": (
        "o auth token foi confirmado, mas não que {address} é de {account}: o Twilio não lista os números dela (HTTP "
        "{status})"
    ),
    "the auth token was confirmed, but not that {address} belongs to {account}: Twilio does not list its WhatsApp "
    "senders (HTTP {status})": (
        "o auth token foi confirmado, mas não que {address} é de {account}: o Twilio não lista os remetentes de "
        "WhatsApp dela (HTTP {status})"
    ),
    "{address} is Twilio's sandbox, which is no account's own: only the token was confirmed": (
        "{address} é o sandbox do Twilio, que não é de nenhuma conta: só o token foi confirmado"
    ),
    "{address} is no number of account {account} at Twilio": "no Twilio {address} não é um número da conta {account}",
    "{address} is no WhatsApp sender of account {account} at Twilio": (
        "no Twilio {address} não é um remetente de WhatsApp da conta {account}"
    ),
    "Twilio answered {status}": "o Twilio respondeu {status}",
    "Twilio could not be asked at {url} ({code})": "não foi possível perguntar ao Twilio em {url} ({code})",
    "another organisation has account {account} too. Webhooks are accepted with the token of either: use --check to "
    "make sure that each token is correct": (
        "outra organização também tem a conta {account}. Webhooks são aceitos com o token de qualquer uma: use "
        "--check para garantir que cada token está certo"
    ),
    "{count} other organisations have account {account} too. Webhooks are accepted with the token of either: use "
    "--check to make sure that each token is correct": (
        "{count} outras organizações também têm a conta {account}. Webhooks são aceitos com o token de qualquer uma: "
        "use --check para garantir que cada token está certo"
    ),
    "orphan {id} was assigned before": "a mensagem sem dono {id} já foi atribuída",
    "the number it was sent to is not this owner's in account {account}; add the number first: recado numbers add": (
        "o número que a recebeu não é desta organização na conta {account}; antes, cadastre o número: recado numbers "
        "add"
    ),
    "what is stored of orphan {id} cannot be read any more": (
        "o que está guardado da mensagem sem dono {id} não pode mais ser lido"
    ),
    "no account of this owner's signed orphan {id}; `recado orphans list --json` shows whose did": (
        "nenhuma conta desta organização assinou a mensagem sem dono {id}; `recado orphans list --json` mostra de quem "
        "é a conta"
    ),
    "{count} accounts sent a message {id}; choose one with --account-sid": (
        "{count} contas mandaram uma mensagem {id}; escolha uma com --account-sid"
    ),
    # Conversations and contacts.
    "there is no contact {id}; `recado contacts list` shows them": (
        "não existe o contato {id}; `recado contacts list` mostra os que existem"
    ),
    "the name must have 1 to {most} characters that can be seen": (
        "o nome precisa ter de 1 a {most} caracteres visíveis"
    ),
    "conversation {id} is closed; the customer's next message opens a new one": (
        "a conversa {id} está encerrada; a próxima mensagem do cliente abre outra"
    ),
    "the agent holds conversation {id}; take it first": "o agente está com a conversa {id}; antes, assuma-a",
    "conversation {id} is held by {holder} already": "a conversa {id} já está com {holder}",
    "a conversation that is {status} cannot become {other}": "uma conversa que está {status} não pode ficar {other}",
    "the reason may have at most {most} characters that can be seen": (
        "o motivo pode ter no máximo {most} caracteres visíveis"
    ),
    "user {id} may not sign in any more; assign it to another user": (
        "o usuário {id} não pode mais entrar; atribua a conversa a outro"
    ),
    "there is nothing to say: the text is empty": "não há o que dizer: o texto está vazio",
    "the text has {length} characters; {most} at most": "o texto tem {length} caracteres; o máximo é {most}",
    "the customer has not written in this conversation yet, so there is no address to answer": (
        "o cliente ainda não escreveu nesta conversa, então não há endereço a responder"
    ),
    "a list is either of those that wait for a person or of those that a text is found in": (
        "uma lista é das conversas que esperam uma pessoa, ou daquelas em que um texto é achado"
    ),
    "{text} is no status: use {names}": "{text} não é uma situação: use {names}",
    "{text} is no holder: use {names}": "com {text} ninguém pode estar: use {names}",
    "there is nothing to find: give a word of letters or digits": (
        "não há o que procurar: dê uma palavra de letras ou dígitos"
    ),
    "give at most {most} words to find": "dê no máximo {most} palavras a procurar",
    "this cannot be sent now": "isto não pode ser enviado agora",
    "the organisation is closed; nothing is sent for it": "a organização está fechada; nada é enviado por ela",
    "the customer has opted out of messages": "o cliente recusou mensagens",
    "the contact is blocked; unblock it first": "o contato está bloqueado; antes, desbloqueie-o",
    "the customer has not written within 24 hours, so WhatsApp delivers no message that is not a template": (
        "o cliente não escreveu nas últimas 24 horas, e o WhatsApp só entrega templates"
    ),
    # Events.
    "there is no event {id}": "não existe o evento {id}",
    "there is no event {id} in the log (events are kept for 30 days); read from its start": (
        "não há o evento {id} no registro (eventos ficam 30 dias); leia do começo"
    ),
    "there is no event endpoint {id}": "não existe o endpoint {id}",
    "endpoint {id} is switched off; enable it first": "o endpoint {id} está desligado; antes, ligue-o",
    "the URL names an address that is not public": "a URL nomeia um endereço que não é público",
    "name a type of event, or none to be sent all of them": ("nomeie um tipo de evento, ou nenhum para receber todos"),
    "an owner may have {most} endpoints; remove one first": (
        "uma organização pode ter {most} endpoints; antes, remova um"
    ),
    "{text} is no type of event: use {names}": "{text} não é um tipo de evento: use {names}",
    "say what to send again: --event or --since": "diga o que mandar de novo: --event ou --since",
    "{text} is no time; write it as 2026-03-14T12:00:00Z": "{text} não é um momento; escreva como 2026-03-14T12:00:00Z",
    # Organisations and people.
    "the text has {length} characters; {most} fit into one message": (
        "o texto tem {length} caracteres; numa mensagem cabem {most}"
    ),
    "the text has characters that no message can have": "o texto tem caracteres que nenhuma mensagem pode ter",
    "give at most {count} words of at most {most} characters": "dê no máximo {count} palavras de até {most} caracteres",
    "{text} has no letters and no digits, by which words are told": (
        "{text} não tem letras nem dígitos, pelos quais se reconhecem as palavras"
    ),
    "{email} is registered already; sign in, or use another address": (
        "{email} já está cadastrado; entre com ele, ou use outro endereço"
    ),
    "{email} belongs to another owner; use another address": "{email} é de outra organização; use outro endereço",
    "the password needs at least {least} characters; 15 or more are better": (
        "a senha precisa de pelo menos {least} caracteres; 15 ou mais é melhor"
    ),
    "the password may have at most {most} characters": "a senha pode ter no máximo {most} caracteres",
    "say of which kind the object is: an id alone names none": (
        "diga de que tipo é a coisa: só um id não nomeia nenhuma"
    ),
    # Jobs and schedules.
    "job {id} is {status}; only dead letters and waiting jobs can be discarded": (
        "o job {id} está {status}; só dead letters e jobs que esperam podem ser descartados"
    ),
    "attempt {id} of it is {state}: it may have been sent": (
        "a tentativa {id} dele está {state}: pode ter sido enviada"
    ),
    "its operation was deleted": "a operação dela foi apagada",
    "its messages belong to a newer turn": "as mensagens são de um turno mais novo",
    "a later message of the same customer is being answered": (
        "uma mensagem posterior do mesmo cliente está sendo respondida"
    ),
    "a later message of the same customer was answered; --force answers this one all the same": (
        "uma mensagem posterior do mesmo cliente foi respondida; --force responde esta mesmo assim"
    ),
    "a person holds the conversation": "uma pessoa está com a conversa",
    "the time to answer it is over": "o prazo para responder acabou",
    "its apology is still on the way": "o pedido de desculpas ainda está a caminho",
    "it is in a person's inbox; release the conversation, and the agent answers": (
        "está na caixa de uma pessoa; devolva a conversa, e o agente responde"
    ),
    "it ended as {outcome}, which an answer would not change": (
        "terminou como {outcome}, o que uma resposta não mudaria"
    ),
    "an event is sent again by `recado events replay`": "um evento é mandado de novo por `recado events replay`",
    "give the order again: recado org purge": "dê a ordem de novo: recado org purge",
    "its schedule runs it again": "a agenda o executa de novo",
    "the interval must be from 1 second to a year": "o intervalo precisa ser de 1 segundo a um ano",
    "{text} is no cron expression of five fields, such as '0 3 * * *'": (
        "{text} não é uma expressão cron de cinco campos, como '0 3 * * *'"
    ),
    "{text} is no cron expression: {error}": "{text} não é uma expressão cron: {error}",
    "{text} never matches a time": "{text} nunca coincide com um horário",
    "{text} is no time zone; they are written like America/Sao_Paulo or UTC": (
        "{text} não é um fuso horário; escreva como America/Sao_Paulo ou UTC"
    ),
    # What machines under us say.
    "Redis did not take wake-ups: {error}": "o Redis não recebeu os avisos de trabalho: {error}",
    "Redis does not answer: {error}": "o Redis não responde: {error}",
    "the stored {field} is cut short; set it again": "{field} está guardado pela metade; defina de novo",
    "the stored {field} was sealed by a later release; run that one, or set it again": (
        "{field} foi cifrado por uma versão posterior; use essa versão, ou defina de novo"
    ),
    "the database is being closed": "o banco de dados está sendo fechado",
    "the disk failed in mid-commit; it is not known whether this was stored: {error}": (
        "o disco falhou durante o commit; não se sabe se isto foi guardado: {error}"
    ),
    "{path} is empty: restore it, or run `recado migrate`": (
        "{path} está vazio: restaure-o, ou digite `recado migrate`"
    ),
    "{path} is another file than the one that was opened: put that back, or restart every process of this database": (
        "{path} não é mais o arquivo que foi aberto: ponha aquele de volta, ou reinicie todos os processos deste banco"
    ),
    "too many passwords are being checked; try again in a moment": (
        "há senhas demais sendo conferidas; tente de novo daqui a pouco"
    ),
    "this is not a cursor of ours: take the id of the last event that you have": (
        "isto não é um cursor nosso: use o id do último evento que você tem"
    ),
    "RECADO_LOG_LEVEL must be one of {names}, not {text}": (
        "RECADO_LOG_LEVEL precisa ser um destes: {names}; e não {text}"
    ),
    "the server was not ready within {seconds} s: {lines}": "o servidor não ficou pronto em {seconds} s: {lines}",
    "`recado {command}` ended with status {status}: {lines}": "`recado {command}` terminou com {status}: {lines}",
}
