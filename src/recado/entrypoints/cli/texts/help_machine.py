"""What the help of commands about this machine says, in Portuguese: processes, the database, the queue, checks."""

from collections.abc import Mapping
from typing import Final

HELP_MACHINE: Final[Mapping[str, str]] = {
    "Receives WhatsApp and SMS messages through Twilio, has agents answer them, and never loses or doubles "
    "one.\n\nSettings are environment variables that begin with RECADO_; `recado doctor` finds problems in "
    "them.": (
        "Recebe mensagens de WhatsApp e SMS pelo Twilio, faz agentes responderem, e nunca perde nem "
        "duplica uma.\n\nAs configurações são variáveis de ambiente que começam com RECADO_; `recado "
        "doctor` acha problemas nelas."
    ),
    "Show this message and exit.": "Mostra esta ajuda e termina.",
    "Show the version and stop.": "Mostra a versão e termina.",
    "Print one JSON document instead of words.": "Escreve um documento JSON em vez de palavras.",
    "Begin: write recado.env, make the database, an organisation and a number.": (
        "Começar: recado.env, banco, organização e número."
    ),
    "Make everything that a first answer needs: recado.env with a new key, the database, an organisation, a "
    "number.\n\nOn a terminal it asks for what is not given. What is there already stays as it is, so it can "
    "be typed again.": (
        "Cria tudo de que a primeira resposta precisa: recado.env com uma chave nova, o banco de "
        "dados, uma organização, um número.\n\nNum terminal pergunta o que falta. O que já existe fica "
        "como está, e o comando pode ser repetido."
    ),
    "The e-mail address of the first user. Without it no one is registered.": (
        "O e-mail do primeiro usuário. Sem ele ninguém é cadastrado."
    ),
    "The organisation's name.": "O nome da organização.",
    "The environment variable with the password. Else one is asked for, or made.": (
        "A variável de ambiente com a senha. Sem ela a senha é perguntada, ou criada."
    ),
    "whatsapp:+5511987654321, or +5511987654321 for SMS.": "whatsapp:+5511987654321, ou +5511987654321 para SMS.",
    "The Twilio account that has the number. Without it: the emulator on this machine.": (
        "A conta do Twilio que tem o número. Sem ela: o emulador desta máquina."
    ),
    "The environment variable with the account's auth token.": "A variável de ambiente com o auth token da conta.",
    "The address at which Twilio reaches this server. If not given: http://127.0.0.1:8000": (
        "O endereço em que o Twilio alcança este servidor. Se faltar: http://127.0.0.1:8000"
    ),
    "The database. If not given: the file recado.db.": "O banco de dados. Se faltar: o arquivo recado.db.",
    "The agent that answers at first: echo or faq.": "O agente que responde no começo: echo ou faq.",
    "The language of built-in texts: pt-BR, es or en.": "A língua dos textos prontos: pt-BR, es ou en.",
    "Talk to a sample bakery in this terminal.": "Conversar com uma padaria de exemplo neste terminal.",
    "Talk to a sample bakery on this machine: no account, no key, nothing to install.": (
        "Conversa com uma padaria de exemplo nesta máquina: sem conta, sem chave, sem instalar nada."
    ),
    "Play this conversation (YAML), print it, verify it and end.": (
        "Executa esta conversa (YAML), mostra, verifica e termina."
    ),
    "The port of the server. By default a free one.": "A porta do servidor. Se faltar, uma livre.",
    "Receive webhooks.": "Receber webhooks.",
    "Receive webhooks. Twilio must reach this server at RECADO_PUBLIC_URL.": (
        "Recebe webhooks. O Twilio precisa alcançar este servidor em RECADO_PUBLIC_URL."
    ),
    "The address to listen on.": "O endereço em que escutar.",
    "The port to listen on; 0: any that is free.": "A porta em que escutar; 0: qualquer uma livre.",
    "Also start a worker process.": "Inicia também um worker.",
    "A file for the worker to touch while it lives; see `recado health`.": (
        "Um arquivo que o worker toca enquanto vive; veja `recado health`."
    ),
    "Run jobs until SIGTERM.": "Executar jobs até SIGTERM.",
    "Run jobs until SIGTERM. Running jobs get some time to finish; the others are requeued.": (
        "Executa jobs até SIGTERM. Os que estão rodando ganham tempo para terminar; os outros voltam para a fila."
    ),
    "Stop when no job is left.": "Termina quando não houver mais jobs.",
    "The time that running jobs get after SIGTERM.": "O tempo que os jobs em execução ganham depois de SIGTERM.",
    "A file to touch while the worker lives; see `recado health`.": (
        "Um arquivo a tocar enquanto o worker vive; veja `recado health`."
    ),
    "Tell whether a server answers and a worker lives.": "Dizer se um servidor responde e um worker vive.",
    "Tell whether a server answers and a worker lives. Exit 1 if not. It needs no settings.": (
        "Diz se um servidor responde e um worker vive. Sai com 1 se não. Não precisa de configurações."
    ),
    "The address of a server to ask. Without options: http://127.0.0.1:8000/healthz": (
        "O endereço de um servidor. Sem opções: http://127.0.0.1:8000/healthz"
    ),
    "The --health-file of a worker.": "O --health-file de um worker.",
    "The age in seconds at which that file is too old.": "A idade em segundos com que esse arquivo é velho demais.",
    "Run an emulator of Twilio, or write to it as a customer.": "Rodar um emulador do Twilio, ou escrever nele.",
    "Run an emulator of Twilio, or write to a running one with `recado emulator send`.\n\nRecado finds it by "
    "RECADO_TWILIO_API_URL; it finds Recado by --number and --webhook.": (
        "Roda um emulador do Twilio, ou escreve num que está rodando com `recado emulator send`.\n\nO "
        "Recado o encontra por RECADO_TWILIO_API_URL; ele encontra o Recado por --number e --webhook."
    ),
    "The account it knows.": "A conta que ele conhece.",
    "The variable with the account's token. Without it: 'emulated'.": (
        "A variável com o token da conta. Sem ela: 'emulated'."
    ),
    "A number of the account (whatsapp:+…); repeatable.": "Um número da conta (whatsapp:+…); pode ser repetido.",
    "The URL that receives messages to those numbers.": "A URL que recebe as mensagens para esses números.",
    "A file that records every message and delivery.": "Um arquivo que registra cada mensagem e cada entrega.",
    "A seed for repeatable random decisions.": "Uma semente para que os sorteios se repitam.",
    "Write to a number as a customer.": "Escreve para um número como cliente.",
    "The address of the customer: whatsapp:+5511987654321.": "O endereço do cliente: whatsapp:+5511987654321.",
    "The number that the customer writes to.": "O número para o qual o cliente escreve.",
    "The text of the message.": "O texto da mensagem.",
    "The URL of the emulator.": "A URL do emulador.",
    "An attachment; repeatable.": "Um anexo; pode ser repetido.",
    "The payload of a tapped button; --body is its text.": "O payload de um botão tocado; --body é o texto dele.",
    "The customer's profile name.": "O nome do perfil do cliente.",
    "The seconds to wait for an answer.": "Os segundos a esperar por uma resposta.",
    "Show jobs and dead letters; retry or discard them.": "Mostrar, repetir ou descartar jobs e dead letters.",
    "Count the waiting, running and dead jobs.": "Conta os jobs que esperam, rodam e morreram.",
    "List the dead letters, the oldest first.\n\nThese jobs failed for good and were neither retried nor discarded.": (
        "Lista as dead letters, a mais antiga primeiro.\n\nEsses jobs falharam de vez e não foram "
        "tentados de novo nem descartados."
    ),
    "Retry dead letters. A retry is refused while it could answer a customer twice or out of order.\n\nEach "
    "retry is stored on its own: you can interrupt the command and run it again for the rest.": (
        "Tenta dead letters de novo. É recusado o que poderia responder a um cliente duas vezes ou "
        "fora de ordem.\n\nCada uma é guardada por si: o comando pode ser interrompido e repetido para o "
        "resto."
    ),
    "The id in `recado queue dead`.": "O id em `recado queue dead`.",
    "All present dead letters.": "Todas as dead letters de agora.",
    "Also if a later message was answered meanwhile.": "Também se uma mensagem posterior já foi respondida.",
    "Change the backend that carries wake-ups, while jobs run.\n\nThe jobs are rows of the database and stay "
    "there. The command tries the new backend and publishes a wake-up for every waiting job again. Each "
    "process publishes to the backend in its RECADO_QUEUE_BACKEND; both may be in use for a while.": (
        "Troca o backend que leva os avisos de trabalho, com jobs rodando.\n\nOs jobs são linhas do "
        "banco de dados e ficam lá. O comando experimenta o novo backend e publica de novo um aviso "
        "para cada job que espera. Cada processo publica no backend do seu RECADO_QUEUE_BACKEND; os "
        "dois podem ser usados por um tempo."
    ),
    "sqlite, postgres, bullmq or sqs.": "sqlite, postgres, bullmq ou sqs.",
    "Discard a job for good.\n\nA dead letter leaves the list. A waiting job leaves the queue, and its "
    "messages are not answered.": (
        "Descarta um job de vez.\n\nUma dead letter sai da lista. Um job que espera sai da fila, e as "
        "mensagens dele ficam sem resposta."
    ),
    "List and change scheduled jobs.": "Listar e mudar jobs agendados.",
    "List all schedules with their last and next slot.\n\nSlots are shown in the schedule's time zone; with "
    "--json in UTC.": (
        "Lista todas as agendas com o último e o próximo horário.\n\nOs horários estão no fuso da "
        "agenda; com --json, em UTC."
    ),
    "Create the job of a schedule now. A worker or `recado tick` runs it. The slots do not change.": (
        "Cria agora o job de uma agenda. Um worker ou `recado tick` o executa. Os horários não mudam."
    ),
    "The name in `recado cron list`.": "O nome em `recado cron list`.",
    "Change a schedule. Options that are not given keep their value. Workers follow within a minute.": (
        "Muda uma agenda. Opções que faltam ficam como estão. Os workers seguem em um minuto."
    ),
    "Five fields: minute, hour, day, month, weekday; '0 3 * * *'.": (
        "Cinco campos: minuto, hora, dia, mês, dia da semana; '0 3 * * *'."
    ),
    "With --at: the time zone, such as America/Sao_Paulo.": "Com --at: o fuso horário, como America/Sao_Paulo.",
    "Instead of --at: an interval.": "Em vez de --at: um intervalo.",
    "Enable the schedule.": "Liga a agenda.",
    "Disable the schedule.": "Desliga a agenda.",
    "List and assign messages to numbers without an owner.": "Listar e atribuir mensagens a números sem dono.",
    "List and assign messages to numbers without an owner. No agent answers them before.": (
        "Listar e atribuir mensagens para números sem dono. Nenhum agente as responde antes."
    ),
    "List the messages that are not assigned yet, the oldest first.": (
        "Lista as mensagens ainda sem dono, a mais antiga primeiro."
    ),
    "Accept a message for an organisation.\n\nThe organisation must own the number by now. The message is then "
    "handled like any other; if it is older than a day, no agent answers it.": (
        "Aceita uma mensagem para uma organização.\n\nO número já precisa ser da organização. A mensagem "
        "é tratada como qualquer outra; se tem mais de um dia, nenhum agente a responde."
    ),
    "The SID in `recado orphans list`.": "O SID em `recado orphans list`.",
    "The account, if two accounts sent a message with this SID.": (
        "A conta, se duas contas mandaram uma mensagem com este SID."
    ),
    "Check that no message was lost and none was answered twice.": "Conferir que nada se perdeu nem saiu em dobro.",
    "Check that every accepted message has exactly one outcome, or will get one. Exit 1 on violations.": (
        "Confere que cada mensagem aceita tem exatamente um desfecho, ou vai ter. Sai com 1 se não."
    ),
    "Run due jobs for some seconds, without a running worker.": "Executar os jobs da vez por alguns segundos.",
    "Requeue jobs of dead workers, create scheduled jobs, and run due jobs. For timers and tests.": (
        "Devolve à fila jobs de workers mortos, cria os agendados e executa os da vez. Para timers e testes."
    ),
    "The time limit of the run.": "O limite de tempo da execução.",
    "Copy the database to a file while everything runs.": "Copiar o banco para um arquivo com tudo rodando.",
    "Copy the database to a file while servers and workers run. The copy is checked before it gets its name.": (
        "Copia o banco de dados para um arquivo com servidores e workers rodando. A cópia é conferida "
        "antes de ganhar o nome."
    ),
    "The file for the copy. An existing file is never overwritten.": (
        "O arquivo da cópia. Um arquivo que existe nunca é sobrescrito."
    ),
    "Keep a restored copy from answering messages again.": "Impedir que uma cópia restaurada responda de novo.",
    "Drop the waiting jobs of a restored copy before its workers start, and let sweeps ignore earlier "
    "messages.\n\nMessages that wait in a backup may have been answered since. Without this command they are "
    "answered again.": (
        "Descarta os jobs que esperam numa cópia restaurada antes dos workers, e faz as varreduras "
        "ignorarem mensagens anteriores.\n\nO que espera num backup pode ter sido respondido depois. Sem "
        "este comando é respondido de novo."
    ),
    "Do it. Without it the command only counts the jobs.": "Faz mesmo. Sem isso o comando só conta os jobs.",
    "Find problems of the settings, the database and the broker.": (
        "Achar problemas das configurações, do banco e do broker."
    ),
    "Check settings, database, key, broker and mail server. Exit 1 if something keeps Recado from its work.": (
        "Confere configurações, banco, chave, broker e servidor de e-mail. Sai com 1 se algo impede o trabalho."
    ),
    "Print a script with which a shell completes commands.": "Escrever um script com que o shell completa comandos.",
    'Print a script with which a shell completes commands.\n\nFor bash, add to ~/.bashrc: eval "$(recado '
    'completion bash)". For zsh, add the same with zsh to ~/.zshrc, after compinit. For fish, write it to '
    "~/.config/fish/completions/recado.fish.": (
        "Escreve um script com que o shell completa comandos.\n\nNo bash, ponha em ~/.bashrc: eval "
        '"$(recado completion bash)". No zsh, o mesmo com zsh em ~/.zshrc, depois de compinit. No '
        "fish, escreva em ~/.config/fish/completions/recado.fish."
    ),
    "The shell that the script is for.": "O shell a que o script se destina.",
    "Create the database or bring it to this release's schema.": "Criar o banco ou trazê-lo ao esquema desta versão.",
    "Create the database or bring it to this release's schema.\n\nOnly this command and `serve` create a "
    "missing SQLite file. On SQLite every later start migrates by itself.": (
        "Cria o banco de dados ou o traz ao esquema desta versão.\n\nSó este comando, `init` e `serve` "
        "criam um arquivo SQLite que falta. No SQLite cada início posterior migra sozinho."
    ),
}
