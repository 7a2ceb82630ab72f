"""What errors say, in Portuguese, wherever they were raised."""

from collections.abc import Mapping
from typing import Final

ERRORS: Final[Mapping[str, str]] = {
    "the organisation is open: close it first, and purge it 30 days later": (
        "a organização está aberta: feche-a primeiro e apague-a 30 dias depois"
    ),
    "the organisation may be purged from {day} UTC on": "a organização pode ser apagada a partir de {day} UTC",
    "everything of the organisation is being deleted; nothing of it can be changed any more": (
        "tudo da organização está sendo apagado; nada dela pode mais ser alterado"
    ),
    "everything of the organisation is being deleted; it cannot be reopened": (
        "tudo da organização está sendo apagado; ela não pode ser reaberta"
    ),
    "there is no owner {id}": "não existe a organização {id}",
    "there is no conversation {id}; `recado conversations list` shows them": (
        "não existe a conversa {id}; `recado conversations list` mostra as que existem"
    ),
    "no agent is set; begin with: recado agents set": "nenhum agente está definido; comece com: recado agents set",
    "it was retried before": "ela já foi tentada de novo",
    "it was discarded": "ela foi descartada",
    "job {id} was retried before, as job {other}; it is on no list any more": (
        "o job {id} já foi tentado de novo, como job {other}; não está mais em nenhuma lista"
    ),
    "there is no job {id}; `recado queue dead` lists the dead letters": (
        "não existe o job {id}; `recado queue dead` mostra as dead letters"
    ),
    "there is no orphan {id}; `recado orphans list` shows them": (
        "não existe a mensagem sem dono {id}; `recado orphans list` mostra as que existem"
    ),
    "there is no schedule {name}; `recado cron list` shows them": (
        "não existe a agenda {name}; `recado cron list` mostra as que existem"
    ),
    "there is no user {id}; `recado users list` shows them": (
        "não existe o usuário {id}; `recado users list` mostra os que existem"
    ),
    "there is no document {name}; `recado knowledge list` shows them": (
        "não existe o documento {name}; `recado knowledge list` mostra os que existem"
    ),
    "there is no API key {id}; `recado keys list` shows them": (
        "não existe a chave de API {id}; `recado keys list` mostra as que existem"
    ),
    "{email} is registered already; use another address": "{email} já está cadastrado; use outro endereço",
    "{email} is the last owner who can sign in; make another user an owner first": (
        "{email} é o último owner que pode entrar; antes, faça owner outro usuário"
    ),
    "{email} was disabled; enable them first: recado users enable {id}": (
        "{email} foi desativado; antes, ative de novo: recado users enable {id}"
    ),
    "{text} is not a role: use {names}": "{text} não é um papel: use {names}",
    "{scope} is no scope: use {names}": "{scope} não é uma permissão: use {names}",
    "a key needs a scope: use {names}": "uma chave precisa de uma permissão: use {names}",
    "the end of the key is past; give a later one, or none": "o fim da chave já passou; dê um posterior, ou nenhum",
    "the end of the key is more than ten years away; give an earlier one, or none": (
        "o fim da chave fica a mais de dez anos; dê um anterior, ou nenhum"
    ),
    "no agent is called {name}; installed are: {names}": "nenhum agente se chama {name}; instalados: {names}",
    "the llm agent needs a model: provider:name, or with a base URL the model's bare name": (
        "o agente llm precisa de um modelo: provedor:nome, ou com uma base URL só o nome do modelo"
    ),
    "the http agent needs the URL of your own agent": "o agente http precisa da URL do seu próprio agente",
    "the model {model} needs its provider (openai:{name}), or give the base URL it is at": (
        "o modelo {model} precisa do provedor (openai:{name}), ou da base URL em que está"
    ),
    "the {agent} agent uses no {options}; leave that out": "o agente {agent} não usa {options}; deixe isso de fora",
    "the provider {name} is not set up here: give an API key, or set its own variables": (
        "o provedor {name} não está configurado aqui: dê uma chave de API, ou defina as variáveis dele"
    ),
    "there is no provider called {name}": "não existe um provedor chamado {name}",
    "the provider {name} needs a package that is not installed": (
        "o provedor {name} precisa de um pacote que não está instalado"
    ),
    "the llm agent needs the extra llm (in the checkout: pip install '.[llm]')": (
        "o agente llm precisa do extra llm (no checkout: pip install '.[llm]')"
    ),
    "the model's server answered {status}": "o servidor do modelo respondeu {status}",
    "the model's server could not be reached": "o servidor do modelo não foi alcançado",
    "the model took too long": "o modelo demorou demais",
    "the text must have 1 to {most} characters": "o texto precisa ter de 1 a {most} caracteres",
    "{text} is not a phone number: {why}": "{text} não é um número de telefone: {why}",
    "{text} is not an account SID: AC followed by 32 hexadecimal digits": (
        "{text} não é um account SID: AC seguido de 32 dígitos hexadecimais"
    ),
    "{text} is not an e-mail address": "{text} não é um endereço de e-mail",
    "{text} is not a locale: use {names}": "{text} não é uma língua: use {names}",
    "{text} is not a send policy: use {names}": "{text} não é uma política de envio: use {names}",
    "the password is among the first that are guessed; take a few words that no one would combine": (
        "a senha está entre as primeiras que alguém tenta; use algumas palavras que ninguém juntaria"
    ),
    "{address} belongs to another owner; a number has exactly one": (
        "{address} é de outra organização; um número tem só uma"
    ),
    "{address} is no number of this owner's": "{address} não é um número desta organização",
    "the environment variable {name}, which {option} names, is not set": (
        "a variável de ambiente {name}, que {option} nomeia, não está definida"
    ),
    "there is no terminal to ask for the password; name a variable with --password-env": (
        "não há terminal para perguntar a senha; nomeie uma variável com --password-env"
    ),
    "{path} does not exist": "{path} não existe",
    "{path} cannot be read: {error}": "{path} não pode ser lido: {error}",
    "{path} is larger than {size}": "{path} é maior que {size}",
    "{path} is not a text file in UTF-8": "{path} não é um arquivo de texto em UTF-8",
    "{path} is a folder; name the files in it": "{path} é uma pasta; nomeie os arquivos dela",
    "{path} is not a regular file but a device, a pipe or a socket": (
        "{path} não é um arquivo comum, e sim um dispositivo, um pipe ou um socket"
    ),
    "{path} exists already and is not overwritten: name another file": (
        "{path} já existe e não é sobrescrito: nomeie outro arquivo"
    ),
    "{path} is not there: RECADO_DATABASE_URL names another file, or this is another directory; to make it, "
    "type: recado migrate": (
        "{path} não existe: RECADO_DATABASE_URL nomeia outro arquivo, ou esta é outra pasta; para "
        "criar, digite: recado migrate"
    ),
    "{path} is not a database: set RECADO_DATABASE_URL to another file, or restore it": (
        "{path} não é um banco de dados: aponte RECADO_DATABASE_URL para outro arquivo, ou restaure este"
    ),
    "{path} cannot be written, for its disk is full: make room": (
        "{path} não pode ser escrito, o disco está cheio: libere espaço"
    ),
    "{path} cannot be written by this user: change its owner or its mode": (
        "{path} não pode ser escrito por este usuário: mude o dono ou o modo"
    ),
    "{path} cannot be read by this user: change its owner or its mode": (
        "{path} não pode ser lido por este usuário: mude o dono ou o modo"
    ),
    "another process has held {path} for too long; stop it, or try again": (
        "outro processo segura {path} há tempo demais; pare-o, ou tente de novo"
    ),
    "RECADO_DATABASE_URL names a file in {folder}, and there is no such directory": (
        "RECADO_DATABASE_URL nomeia um arquivo em {folder}, e essa pasta não existe"
    ),
    "RECADO_DATABASE_URL is refused by PostgreSQL: {error}": (
        "RECADO_DATABASE_URL é recusado pelo PostgreSQL: {error}"
    ),
    "the database of RECADO_DATABASE_URL cannot be used now: {error}": (
        "o banco de RECADO_DATABASE_URL não pode ser usado agora: {error}"
    ),
    "the database is at schema {found} instead of {head}: run recado migrate": (
        "o banco está no esquema {found} em vez de {head}: digite recado migrate"
    ),
    "{path}, line {number}: write it as NAME=value": "{path}, linha {number}: escreva NOME=valor",
    "{path} belongs to another user of this machine: move it away, or own it": (
        "{path} é de outro usuário desta máquina: tire-o daqui, ou torne-se o dono"
    ),
    "{name} is set already, to another value: change it there, or leave the option out": (
        "{name} já tem outro valor: mude onde está, ou deixe a opção de fora"
    ),
    "--number needs --email: a number belongs to an organisation": (
        "--number precisa de --email: um número pertence a uma organização"
    ),
    "--account-sid needs --number, the number of that account": (
        "--account-sid precisa de --number, o número dessa conta"
    ),
    "--account-sid needs --auth-token-env, the variable with the account's auth token": (
        "--account-sid precisa de --auth-token-env, a variável com o auth token da conta"
    ),
    "--auth-token-env needs --account-sid, the account that the token belongs to": (
        "--auth-token-env precisa de --account-sid, a conta a que o token pertence"
    ),
    "{why}; nothing was stored": "{why}; nada foi guardado",
    "Twilio does not accept this auth token for {account}": "o Twilio não aceita este auth token para {account}",
    "give --on or --off, not both": "dê --on ou --off, não os dois",
    "give --at or --every, not both": "dê --at ou --every, não os dois",
    "there is nothing to change: give --at, --every, --on or --off": (
        "não há o que mudar: dê --at, --every, --on ou --off"
    ),
    "--time-zone is the time zone of --at; give --at too": "--time-zone é o fuso de --at; dê --at também",
    "name one dead letter by its id, or all of them with --all": "nomeie uma dead letter pelo id, ou todas com --all",
    "{id} was not retried: {why}": "{id} não foi tentado de novo: {why}",
    "job {id} is {status}, not dead; only dead letters can be retried": (
        "o job {id} está {status}, não morto; só dead letters podem ser tentadas de novo"
    ),
    "--to must be one of {names} for this database, not {name}": (
        "--to precisa ser um destes para este banco: {names}; e não {name}"
    ),
    "--seconds must be a number from {least} to {most}": "--seconds precisa ser um número de {least} a {most}",
    "--webhook needs a --number whose messages go there": (
        "--webhook precisa de um --number cujas mensagens vão para lá"
    ),
    "the emulator cannot listen at {host}, port {port}: {error}": (
        "o emulador não consegue escutar em {host}, porta {port}: {error}"
    ),
    "the emulator refused the message: {error}": "o emulador recusou a mensagem: {error}",
    "no emulator answers at {url}; start one with: recado emulator --port …": (
        "nenhum emulador responde em {url}; inicie um com: recado emulator --port …"
    ),
    "two of the files are called {name}, but names of documents are unique": (
        "dois dos arquivos se chamam {name}, mas cada documento tem um nome só seu"
    ),
    "this deletes every row of the organisation and its keys: confirm it with --yes": (
        "isto apaga cada registro da organização e as chaves dela: confirme com --yes"
    ),
    "RECADO_SQS_QUEUE_URL is missing: the URL of the queue, as AWS shows it": (
        "falta RECADO_SQS_QUEUE_URL: a URL da fila, como a AWS mostra"
    ),
    "RECADO_SECRET_KEY is missing; `recado doctor` shows how to make one": (
        "falta RECADO_SECRET_KEY; `recado doctor` mostra como criar uma"
    ),
    "RECADO_PUBLIC_URL is missing: the address at which Twilio reaches this server": (
        "falta RECADO_PUBLIC_URL: o endereço em que o Twilio alcança este servidor"
    ),
    "RECADO_SECRET_KEY is not the key that sealed the owners' keys: set the one that did": (
        "RECADO_SECRET_KEY não é a chave que cifrou as das organizações: defina a que cifrou"
    ),
    "{field} was sealed with another RECADO_SECRET_KEY (its id is {id}, this key's is {other}): set the one it was "
    "stored with": (
        "{field} foi cifrado com outra RECADO_SECRET_KEY (o id dela é {id}, o desta é {other}): defina aquela com que "
        "foi guardado"
    ),
    "the stored {field} cannot be opened: {why}": "{field}, como está guardado, não pode ser aberto: {why}",
    "too many writes are waiting for the database; try again": (
        "há escritas demais esperando o banco de dados; tente de novo"
    ),
    "too many reads are waiting for the database; try again": (
        "há leituras demais esperando o banco de dados; tente de novo"
    ),
    "the database cannot be reached: {error}": "o banco de dados não foi alcançado: {error}",
    "the database was lost in mid-commit; it is not known whether this was stored": (
        "o banco de dados se perdeu durante o commit; não se sabe se isto foi guardado"
    ),
    "it is not known whether this was stored: {error}": "não se sabe se isto foi guardado: {error}",
    "tenants cannot log in ({error}): run `recado migrate`": (
        "as organizações não conseguem entrar no banco ({error}): digite `recado migrate`"
    ),
    "nothing says how tenants log in: run `recado migrate`": (
        "nada diz como as organizações entram no banco: digite `recado migrate`"
    ),
    "the tables are not behind row-level security: run `recado migrate`": (
        "as tabelas não estão atrás de row-level security: digite `recado migrate`"
    ),
    "the table {name} is not behind row-level security: run `recado migrate`": (
        "a tabela {name} não está atrás de row-level security: digite `recado migrate`"
    ),
    "{role} may not take the roles {names}: run `recado migrate`": (
        "{role} não pode assumir os papéis {names}: digite `recado migrate`"
    ),
    "the role {role} is a superuser or has BYPASSRLS, so no policy holds it: take that away": (
        "o papel {role} é superusuário ou tem BYPASSRLS, e nenhuma política o segura: tire isso dele"
    ),
    "{role} may not make the roles of row-level security ({error}): as an administrator run `{command}` and then "
    "`recado migrate` again": (
        "{role} não pode criar os papéis de row-level security ({error}): como administrador, digite `{command}` e "
        "depois `recado migrate` de novo"
    ),
    "the PostgreSQL server is of release {found} and Recado needs {least} or later: upgrade the server, or set "
    "RECADO_DATABASE_URL to another": (
        "o servidor PostgreSQL é da versão {found}, e o Recado precisa da {least} ou posterior: atualize o servidor, "
        "ou aponte RECADO_DATABASE_URL para outro"
    ),
    "the database has a table {name} and no revision of Recado's: set RECADO_DATABASE_URL to another database, or "
    "restore a backup": (
        "o banco tem uma tabela {name} e nenhuma revisão do Recado: aponte RECADO_DATABASE_URL para outro banco, ou "
        "restaure um backup"
    ),
    "RECADO_DATABASE_URL: after sqlite:/// comes a path and nothing else, no ?… or file:": (
        "RECADO_DATABASE_URL: depois de sqlite:/// vem um caminho e mais nada, sem ?… nem file:"
    ),
    "RECADO_DATABASE_URL names {backend}: {why}": "RECADO_DATABASE_URL nomeia {backend}: {why}",
    "RECADO_DATABASE_URL cannot be used: {error}": "RECADO_DATABASE_URL não pode ser usado: {error}",
    "another process has been migrating {path} for too long; stop it, or try again": (
        "outro processo migra {path} há tempo demais; pare-o, ou tente de novo"
    ),
    "{path} holds no database of Recado's: RECADO_DATABASE_URL names another file, or it is still to be made; to make "
    "it, type: recado migrate": (
        "{path} não guarda um banco do Recado: RECADO_DATABASE_URL nomeia outro arquivo, ou ele ainda precisa ser "
        "criado; para criar, digite: recado migrate"
    ),
    "{path} cannot be opened: {error}": "{path} não pode ser aberto: {error}",
    "{path} cannot be written: {error}": "{path} não pode ser escrito: {error}",
    "{path} cannot be read or written ({error}): look at its disk": (
        "{path} não pode ser lido nem escrito ({error}): veja o disco dele"
    ),
    "{path} is damaged ({error}): stop what uses it, and restore a backup": (
        "{path} está danificado ({error}): pare o que o usa, e restaure um backup"
    ),
    "{place} is at a schema of Recado's and lacks its table {table}: set RECADO_DATABASE_URL to another database, or "
    "restore a backup": (
        "{place} está num esquema do Recado e lhe falta a tabela {table}: aponte RECADO_DATABASE_URL para outro banco, "
        "ou restaure um backup"
    ),
    "{path} is a directory: set RECADO_DATABASE_URL to a file": (
        "{path} é uma pasta: aponte RECADO_DATABASE_URL para um arquivo"
    ),
    "{path} is no ordinary file: set RECADO_DATABASE_URL to another": (
        "{path} não é um arquivo comum: aponte RECADO_DATABASE_URL para outro"
    ),
    "{path} lies on a file system that is mounted read-only: mount it for writing, or move the file": (
        "{path} está num sistema de arquivos montado só para leitura: monte-o para escrita, ou mova o arquivo"
    ),
    "{path} is empty while its log {log} is there, which may hold what was stored last: put the file back beside it, "
    "or move the log away to start with a new database": (
        "{path} está vazio e o log {log} existe, que pode ter o que foi guardado por último: ponha o arquivo de volta "
        "ao lado dele, ou tire o log daqui para começar com um banco novo"
    ),
    "{path} is missing while its log {log} is there, which may hold what was stored last: put the file back beside it, "
    "or move the log away to start with a new database": (
        "{path} não existe e o log {log} existe, que pode ter o que foi guardado por último: ponha o arquivo de volta "
        "ao lado dele, ou tire o log daqui para começar com um banco novo"
    ),
    "{folder} cannot be written by this user, and {name} and its logs must lie there: change its mode": (
        "{folder} não pode ser escrita por este usuário, e {name} e os logs dele precisam ficar lá: mude o modo"
    ),
    "{path} was moved, deleted or replaced: put it back, or restart every process of this database": (
        "{path} foi movido, apagado ou trocado: ponha-o de volta, ou reinicie todos os processos deste banco"
    ),
    "{target} is a directory: name a file in it": "{target} é uma pasta: nomeie um arquivo nela",
    "there is no directory {folder}: create it, or name a file elsewhere": (
        "não existe a pasta {folder}: crie-a, ou nomeie um arquivo em outro lugar"
    ),
    "there is no database at {path}; RECADO_DATABASE_URL says where it is": (
        "não há banco de dados em {path}; RECADO_DATABASE_URL diz onde está"
    ),
    "no backup was made: {error}": "nenhum backup foi feito: {error}",
    "{path} cannot be read as a database: {error}": "{path} não pode ser lido como banco de dados: {error}",
    "the copy is corrupt, so the database may be corrupt too: {error}": (
        "a cópia está corrompida, e o banco pode estar também: {error}"
    ),
    "PostgreSQL is copied by pg_dump, which is not on PATH: {advice}; or run on a machine that has it: pg_dump "
    "{options} --file=FILE '{url}'": (
        "o PostgreSQL é copiado pelo pg_dump, que não está no PATH: {advice}; ou digite numa máquina que o tem: "
        "pg_dump {options} --file=FILE '{url}'"
    ),
    "a worker holds {count} jobs of this database: stop the workers, or wait for their leases to end": (
        "um worker segura {count} jobs deste banco: pare os workers, ou espere o fim das leases"
    ),
    "{count} jobs wait to answer customers and would be dropped, and sweeps would ignore messages before now: confirm "
    "with --yes": (
        "{count} jobs esperam para responder clientes e seriam descartados, e as varreduras ignorariam mensagens "
        "anteriores a agora: confirme com --yes"
    ),
    "{variable} has characters that a file of variables cannot hold: {text}": (
        "{variable} tem caracteres que um arquivo de variáveis não pode ter: {text}"
    ),
    "{host} is not a host that this machine knows; {error}": "{host} não é um host que esta máquina conhece; {error}",
    "{path} is not YAML: {error}": "{path} não é YAML: {error}",
}
