"""What the help of commands about organisations and their conversations says, in Portuguese."""

from collections.abc import Mapping
from typing import Final

HELP_WORK: Final[Mapping[str, str]] = {
    "Register and change organisations.": "Cadastrar e mudar organizações.",
    "Register an organisation and its first user.\n\nThe user can sign in at once, and may do everything.": (
        "Cadastra uma organização e o primeiro usuário dela.\n\nO usuário pode entrar na hora, e pode fazer tudo."
    ),
    "The environment variable with the password. Without it you are asked.": (
        "A variável de ambiente com a senha. Sem ela a senha é perguntada."
    ),
    "Change an organisation, and show it. Options that are not given keep their value.": (
        "Muda uma organização e a mostra. Opções que faltam ficam como estão."
    ),
    "The organisation; `recado org list` shows their ids.": "A organização; `recado org list` mostra os ids.",
    "The contact address of the organisation.": "O endereço de contato da organização.",
    "The language of built-in texts.": "A língua dos textos prontos.",
    "The message to a customer when the agent failed; empty: the built-in text.": (
        "A mensagem ao cliente quando o agente falha; vazio: o texto pronto."
    ),
    "The message to a customer when a person takes over; empty: the built-in text.": (
        "A mensagem ao cliente quando uma pessoa assume; vazio: o texto pronto."
    ),
    "The message to a customer who stopped writing, sent once; empty: none.": (
        "A mensagem a um cliente que parou de escrever, uma vez só; vazio: nenhuma."
    ),
    "What to do when a send may have failed: prefer_silence or prefer_delivery.": (
        "O que fazer quando um envio pode ter falhado: prefer_silence ou prefer_delivery."
    ),
    "Words that opt out of messages; empty: the built-in words.": (
        "Palavras que recusam mensagens; vazio: as prontas."
    ),
    "Words that opt in again; empty: the built-in words.": "Palavras que aceitam de novo; vazio: as prontas.",
    "List all organisations.": "Lista todas as organizações.",
    "Take the number away from another organisation that has it.": "Tira o número de outra organização que o tem.",
    "Close an organisation: its customers get no answers any more. Nothing is deleted.": (
        "Fecha uma organização: os clientes dela não recebem mais respostas. Nada é apagado."
    ),
    "Open a closed organisation again. Messages that came meanwhile stay unanswered.": (
        "Reabre uma organização fechada. O que chegou nesse tempo fica sem resposta."
    ),
    "Write everything of an organisation, without its secrets, to a file.": (
        "Escreve tudo de uma organização, sem os segredos, num arquivo."
    ),
    "The new file, one line of JSON a row.": "O arquivo novo, uma linha de JSON por registro.",
    "Delete everything of an organisation that was closed for 30 days, for good. A worker does it.": (
        "Apaga para sempre tudo de uma organização fechada há 30 dias. Um worker faz isso."
    ),
    "Show how far it is, and end when it is done.": "Mostra até onde chegou, e termina quando acaba.",
    "Confirm that everything is to be deleted.": "Confirma que tudo deve ser apagado.",
    "List the people of organisations.": "Listar as pessoas das organizações.",
    "List users and their roles.": "Lista os usuários e os papéis deles.",
    "Only this organisation's users.": "Só os usuários desta organização.",
    "Add, check and remove the numbers that customers write to.": (
        "Cadastrar, conferir e remover números de atendimento."
    ),
    "Add a number, or give its account a new auth token.": (
        "Cadastra um número, ou dá à conta dele um novo auth token."
    ),
    "The Twilio account that has the number.": "A conta do Twilio que tem o número.",
    "The environment variable with the auth token. It is read now and stored encrypted.": (
        "A variável de ambiente com o auth token. É lida agora e guardada cifrada."
    ),
    "First ask Twilio whether token and number belong to the account.": (
        "Antes pergunta ao Twilio se o token e o número são da conta."
    ),
    "Ask Twilio whether a number, its account and the stored token still belong together.": (
        "Pergunta ao Twilio se um número, a conta e o token guardado ainda combinam."
    ),
    "The number, as it was added.": "O número, como foi cadastrado.",
    "Remove a number. What it has received is still answered; then its auth token is deleted.": (
        "Remove um número. O que ele recebeu ainda é respondido; depois o auth token é apagado."
    ),
    "List the numbers of an organisation.": "Lista os números de uma organização.",
    "Choose the agent that answers an organisation's customers.": "Escolher o agente que responde aos clientes.",
    "Choose the agent. Options that are not given keep their value; an empty text removes it.\n\nWith --number it "
    "answers at that number only, and what is not given at first comes from the organisation's agent of that name.": (
        "Escolhe o agente. Opções que faltam ficam como estão; um texto vazio apaga.\n\nCom --number ele só responde "
        "nesse número, e o que faltar na primeira vez vem do agente da organização com esse nome."
    ),
    "echo, faq, llm, http, or one that a package of yours adds.": (
        "echo, faq, llm, http, ou um que um pacote seu acrescenta."
    ),
    "provider:name, or with --base-url the name of the model.": "provedor:nome, ou com --base-url o nome do modelo.",
    "A server with the Chat Completions API.": "Um servidor com a API Chat Completions.",
    "The environment variable that holds the API key; it is read now and sealed.": (
        "A variável de ambiente com a chave da API; é lida agora e guardada cifrada."
    ),
    "A text file with the instructions of the model.": "Um arquivo de texto com as instruções do modelo.",
    "The URL of your own agent (http).": "A URL do seu próprio agente (http).",
    "The number of earlier messages that the agent sees.": "Quantas mensagens anteriores o agente vê.",
    "Whether the agent may call addresses of this machine and its network.": (
        "Se o agente pode chamar endereços desta máquina e da rede dela."
    ),
    "Only at this number, as it was added.": "Só neste número, como foi cadastrado.",
    "Take a number's own agent away. The organisation's active agent answers there again.": (
        "Tira o agente próprio de um número. O agente ativo da organização volta a responder nele."
    ),
    "Show the agent that answers: at a number, or at those without an agent of their own.": (
        "Mostra o agente que responde: num número, ou nos que não têm um próprio."
    ),
    "List the agents of an organisation. The active one answers, except at numbers with an agent of their own.": (
        "Lista os agentes de uma organização. O ativo responde, menos nos números que têm um próprio."
    ),
    "Run the agent once on a text. Nothing is stored or sent, and no side effect of a tool runs.": (
        "Executa o agente uma vez com um texto. Nada é guardado nem enviado, e nenhum efeito de ferramenta acontece."
    ),
    "What a customer would write.": "O que um cliente escreveria.",
    "Add and search the documents that agents answer from.": "Pôr e pesquisar documentos para os agentes.",
    "Add documents. A document of the same file name is replaced. Either all files are added or none.": (
        "Acrescenta documentos. Um de mesmo nome é trocado. Ou todos os arquivos entram, ou nenhum."
    ),
    "Text or Markdown files of at most 2 MB.": "Arquivos de texto ou Markdown de até 2 MB.",
    "List the documents of an organisation.": "Lista os documentos de uma organização.",
    "Show the passages that an agent would find, the best one first.": (
        "Mostra os trechos que um agente acharia, o melhor primeiro."
    ),
    "A question, as a customer would ask it.": "Uma pergunta, como um cliente faria.",
    "The number of passages to show.": "Quantos trechos mostrar.",
    "Delete a document.": "Apaga um documento.",
    "The name in `recado knowledge list`.": "O nome em `recado knowledge list`.",
    "List, read, take, answer, release and close conversations.": "Ler, assumir, responder e encerrar conversas.",
    "List, take, answer, release, assign and close conversations.": (
        "Assumir, responder, atribuir e encerrar conversas."
    ),
    "List the conversations that are open or wait for a person, latest activity first.": (
        "Lista as conversas abertas ou que esperam uma pessoa, a mais recente primeiro."
    ),
    "Take a conversation over from the agent. From now on no answer of the agent is sent.": (
        "Assume uma conversa do agente. A partir de agora nenhuma resposta dele é enviada."
    ),
    "The id in `recado conversations list`.": "O id em `recado conversations list`.",
    "Write to the customer as a person. This takes the conversation.": (
        "Escreve ao cliente como pessoa. Isso assume a conversa."
    ),
    "The message to the customer.": "A mensagem ao cliente.",
    "Give a conversation back to the agent, which answers every message that is still unanswered.": (
        "Devolve uma conversa ao agente, que responde tudo o que ainda está sem resposta."
    ),
    "End a conversation. What waits for a person in it is not answered; the next message opens a new one.": (
        "Encerra uma conversa. O que nela espera uma pessoa fica sem resposta; a próxima mensagem abre outra."
    ),
    "Why, for the history.": "O motivo, para o histórico.",
    "Say which user is to look after a conversation. Without --user no one is.": (
        "Diz qual usuário cuida de uma conversa. Sem --user, ninguém."
    ),
    "The user; `recado users list` shows their ids.": "O usuário; `recado users list` mostra os ids.",
    "The e-mail address of the first user, who may do everything.": (
        "O e-mail do primeiro usuário, que pode fazer tudo."
    ),
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
    "Make a new secret, and show it once. The old one signs beside it for 24 hours.": (
        "Cria um segredo novo, e o mostra uma vez. O antigo assina junto por 24 horas."
    ),
}
