"""Every text that the product itself sends to a customer or shows to an operator, in each language.

Texts are data, so that a translator changes no code and a test can find a missing one. What an owner wrote (its own
apology, its agents' answers) is not here.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, Literal, TypeAlias, get_args

Locale: TypeAlias = Literal["pt-BR", "en", "es"]

LOCALES: Final[tuple[Locale, ...]] = get_args(Locale)
DEFAULT_LOCALE: Final[Locale] = "pt-BR"


class Text(StrEnum):
    """The texts by name; the first group is read by customers, the second by operators and agents."""

    APOLOGY = "apology"
    HAND_OFF = "hand_off"
    NOTHING_FOUND = "nothing_found"
    OFFER_A_PERSON = "offer_a_person"
    LIMIT_REACHED = "limit_reached"

    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    DOCUMENT = "document"
    STICKER = "sticker"
    CONTACT_CARD = "contact_card"
    LOCATION = "location"
    ATTACHMENT = "attachment"
    EMPTY_MESSAGE = "empty_message"

    INVITE_SUBJECT = "invite_subject"
    INVITE_MAIL = "invite_mail"
    RESET_SUBJECT = "reset_subject"
    RESET_MAIL = "reset_mail"
    LINK_HEADING = "link_heading"
    LINK_FIELD = "link_field"
    LINK_BUTTON = "link_button"
    LINK_DONE = "link_done"
    LINK_OVER = "link_over"
    LINK_LATER = "link_later"
    HOW_TO_CHOOSE = "how_to_choose"
    ENDPOINT_OFF_SUBJECT = "endpoint_off_subject"
    ENDPOINT_OFF_MAIL = "endpoint_off_mail"
    ENDPOINT_FAILING = "endpoint_failing"
    ENDPOINT_GONE = "endpoint_gone"


CATALOG: Final[Mapping[Locale, Mapping[Text, str]]] = {
    "pt-BR": {
        Text.APOLOGY: "Desculpe, estou indisponível no momento",
        Text.HAND_OFF: "Vou chamar uma pessoa da equipe para continuar esta conversa. Aguarde só um pouco, por favor.",
        Text.NOTHING_FOUND: "Não encontrei uma resposta para isso.",
        Text.OFFER_A_PERSON: "Quer que eu chame uma pessoa da equipe?",
        Text.LIMIT_REACHED: "Recebi muitas mensagens em pouco tempo. Tente de novo mais tarde, por favor.",
        Text.IMAGE: "imagem",
        Text.AUDIO: "áudio",
        Text.VIDEO: "vídeo",
        Text.DOCUMENT: "documento",
        Text.STICKER: "figurinha",
        Text.CONTACT_CARD: "contato",
        Text.LOCATION: "localização",
        Text.ATTACHMENT: "anexo",
        Text.EMPTY_MESSAGE: "mensagem sem texto",
        Text.INVITE_SUBJECT: "Convite para {organisation}",
        Text.INVITE_MAIL: (
            "Olá!\n\nVocê foi convidado para atender os clientes de {organisation} no Recado, com o e-mail {email}.\n"
            "Escolha sua senha neste endereço, que vale por sete dias e uma única vez:\n\n{url}\n\n"
            "Se você não esperava este convite, ignore esta mensagem.\n"
        ),
        Text.RESET_SUBJECT: "Uma nova senha para {organisation}",
        Text.RESET_MAIL: (
            "Olá!\n\nAlguém pediu uma nova senha para {email} em {organisation}.\n"
            "Escolha-a neste endereço, que vale por uma hora e uma única vez:\n\n{url}\n\n"
            "Se não foi você, ignore esta mensagem: sua senha continua a mesma.\n"
        ),
        Text.LINK_HEADING: "Escolha uma senha para {email}",
        Text.LINK_FIELD: "Nova senha",
        Text.LINK_BUTTON: "Salvar",
        Text.LINK_DONE: "A senha foi salva. Você já pode entrar com ela.",
        Text.LINK_OVER: "Este endereço já foi usado ou não vale mais. Peça outro a quem administra o Recado.",
        Text.LINK_LATER: "Agora não foi possível. Espere um momento e abra o endereço de novo.",
        Text.HOW_TO_CHOOSE: "Use ao menos oito caracteres, e não uma senha que muita gente usa.",
        Text.ENDPOINT_OFF_SUBJECT: "O envio de eventos de {organisation} foi desligado",
        Text.ENDPOINT_OFF_MAIL: (
            "Olá!\n\nO Recado não envia mais os eventos de {organisation} para {url}, porque esse servidor {why}.\n"
            "O que acontece fica guardado por trinta dias. Quando o servidor voltar, ligue o envio; o que esperava vai "
            "em ordem:\n\nrecado events endpoints enable --owner {owner} {endpoint}\n\n"
            "ou, pela API, POST /api/v1/endpoints/{endpoint}/enable.\n"
        ),
        Text.ENDPOINT_FAILING: "não aceitou nada durante três dias",
        Text.ENDPOINT_GONE: "respondeu 410 (Gone)",
    },
    "en": {
        Text.APOLOGY: "Sorry, I am not available right now",
        Text.HAND_OFF: "I will call a person from the team to continue this conversation. One moment, please.",
        Text.NOTHING_FOUND: "I found no answer to that.",
        Text.OFFER_A_PERSON: "Shall I call a person from the team?",
        Text.LIMIT_REACHED: "I received many messages in a short time. Please try again later.",
        Text.IMAGE: "image",
        Text.AUDIO: "audio",
        Text.VIDEO: "video",
        Text.DOCUMENT: "document",
        Text.STICKER: "sticker",
        Text.CONTACT_CARD: "contact",
        Text.LOCATION: "location",
        Text.ATTACHMENT: "attachment",
        Text.EMPTY_MESSAGE: "message without text",
        Text.INVITE_SUBJECT: "Invitation to {organisation}",
        Text.INVITE_MAIL: (
            "Hello!\n\nYou were invited to answer the customers of {organisation} in Recado, as {email}.\n"
            "Choose your password at this address, which is good for seven days and for one use:\n\n{url}\n\n"
            "If you did not expect this invitation, ignore this message.\n"
        ),
        Text.RESET_SUBJECT: "A new password for {organisation}",
        Text.RESET_MAIL: (
            "Hello!\n\nA new password for {email} at {organisation} was asked for.\n"
            "Choose it at this address, which is good for one hour and for one use:\n\n{url}\n\n"
            "If it was not you, ignore this message: your password stays as it is.\n"
        ),
        Text.LINK_HEADING: "Choose a password for {email}",
        Text.LINK_FIELD: "New password",
        Text.LINK_BUTTON: "Save",
        Text.LINK_DONE: "The password was saved. You can sign in with it now.",
        Text.LINK_OVER: "This address was used already, or has ended. Ask your administrator for another one.",
        Text.LINK_LATER: "This was not possible now. Wait a moment, and open the address again.",
        Text.HOW_TO_CHOOSE: "Use at least eight characters, and not a password that many people use.",
        Text.ENDPOINT_OFF_SUBJECT: "Events of {organisation} are not sent any more",
        Text.ENDPOINT_OFF_MAIL: (
            "Hello!\n\nThe events of {organisation} are not sent to {url} any more, because that server {why}.\n"
            "What happens is kept for thirty days. When the server is back, switch it on; what waited is sent in "
            "order:\n\nrecado events endpoints enable --owner {owner} {endpoint}\n\n"
            "or, over the API, POST /api/v1/endpoints/{endpoint}/enable.\n"
        ),
        Text.ENDPOINT_FAILING: "has taken nothing for three days",
        Text.ENDPOINT_GONE: "answered 410 (Gone)",
    },
    "es": {
        Text.APOLOGY: "Disculpa, no estoy disponible en este momento",
        Text.HAND_OFF: "Voy a llamar a una persona del equipo para continuar esta conversación. Un momento, por favor.",
        Text.NOTHING_FOUND: "No encontré una respuesta para eso.",
        Text.OFFER_A_PERSON: "¿Quieres que llame a una persona del equipo?",
        Text.LIMIT_REACHED: "Recibí muchos mensajes en poco tiempo. Inténtalo de nuevo más tarde, por favor.",
        Text.IMAGE: "imagen",
        Text.AUDIO: "audio",
        Text.VIDEO: "video",
        Text.DOCUMENT: "documento",
        Text.STICKER: "sticker",
        Text.CONTACT_CARD: "contacto",
        Text.LOCATION: "ubicación",
        Text.ATTACHMENT: "archivo adjunto",
        Text.EMPTY_MESSAGE: "mensaje sin texto",
        Text.INVITE_SUBJECT: "Invitación a {organisation}",
        Text.INVITE_MAIL: (
            "¡Hola!\n\nTe invitaron a atender a los clientes de {organisation} en Recado, con el correo {email}.\n"
            "Elige tu contraseña en esta dirección, que vale por siete días y una sola vez:\n\n{url}\n\n"
            "Si no esperabas esta invitación, ignora este mensaje.\n"
        ),
        Text.RESET_SUBJECT: "Una nueva contraseña para {organisation}",
        Text.RESET_MAIL: (
            "¡Hola!\n\nAlguien pidió una nueva contraseña para {email} en {organisation}.\n"
            "Elígela en esta dirección, que vale por una hora y una sola vez:\n\n{url}\n\n"
            "Si no fuiste tú, ignora este mensaje: tu contraseña sigue siendo la misma.\n"
        ),
        Text.LINK_HEADING: "Elige una contraseña para {email}",
        Text.LINK_FIELD: "Nueva contraseña",
        Text.LINK_BUTTON: "Guardar",
        Text.LINK_DONE: "La contraseña se guardó. Ya puedes entrar con ella.",
        Text.LINK_OVER: "Esta dirección ya se usó o ya no vale. Pide otra a quien administra Recado.",
        Text.LINK_LATER: "Ahora no fue posible. Espera un momento y abre la dirección de nuevo.",
        Text.HOW_TO_CHOOSE: "Usa al menos ocho caracteres, y no una contraseña que mucha gente usa.",
        Text.ENDPOINT_OFF_SUBJECT: "Ya no se envían los eventos de {organisation}",
        Text.ENDPOINT_OFF_MAIL: (
            "¡Hola!\n\nRecado ya no envía los eventos de {organisation} a {url}, porque ese servidor {why}.\n"
            "Lo que pasa se guarda durante treinta días. Cuando el servidor vuelva, enciende el envío; lo que esperaba "
            "va en orden:\n\nrecado events endpoints enable --owner {owner} {endpoint}\n\n"
            "o, por la API, POST /api/v1/endpoints/{endpoint}/enable.\n"
        ),
        Text.ENDPOINT_FAILING: "no aceptó nada durante tres días",
        Text.ENDPOINT_GONE: "respondió 410 (Gone)",
    },
}


def translate(locale: str, key: Text, **values: object) -> str:
    """Return the text for `key` in the language nearest to `locale`; `values` fill its {names}."""
    text = CATALOG[nearest(locale)][key]
    return text.format(**values) if values else text


def nearest(locale: str) -> Locale:
    """Return the supported locale of the same language (`en-GB` gives `en`, `pt` gives `pt-BR`), else the default."""
    language = _language(locale)
    return next((ours for ours in LOCALES if _language(ours) == language), DEFAULT_LOCALE)


def _language(locale: str) -> str:
    return locale.strip().replace("_", "-").partition("-")[0].lower()
