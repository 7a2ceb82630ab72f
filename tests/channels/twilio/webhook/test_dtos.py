"""What a form says, or why it cannot be used."""

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recado.channels.twilio.webhook.describing import describe
from recado.channels.twilio.webhook.dtos import (
    FAILED,
    RANK,
    Button,
    FormProblem,
    InboundForm,
    Location,
    StatusForm,
    advances,
)
from tests.channels.twilio.webhook.forms import PAYLOADS, pairs

INBOUND = [path.stem for path in sorted(PAYLOADS.rglob("*.form")) if not path.stem.startswith("status_")]


def inbound(name: str, **changed: str | None) -> InboundForm:
    form = InboundForm.parse(pairs(name, **changed))
    assert isinstance(form, InboundForm)
    return form


def status(name: str, **changed: str | None) -> StatusForm:
    form = StatusForm.parse(pairs(name, **changed))
    assert isinstance(form, StatusForm)
    return form


class TestInbound:
    def test_a_whatsapp_text(self) -> None:
        form = inbound("whatsapp_text")
        assert form.message_sid.value == "SM" + "1" * 32
        assert form.account_sid.value == "AC" + "0" * 32
        assert (form.from_address.value, form.to_address.value) == ("whatsapp:+5511987654321", "whatsapp:+14155238886")
        assert (form.body, form.kind, form.profile_name, form.wa_id) == (
            "Olá 👋 tudo bem?",
            "text",
            "Ana Souza",
            "5511987654321",
        )

    def test_a_quick_reply(self) -> None:
        form = inbound("whatsapp_quick_reply")
        assert form.kind == "button"
        assert form.button == Button("Confirmar", "confirm_42", "REPLY")
        assert form.replied_to_sid == "MM" + "9" * 32
        assert form.external_user_id == "whatsapp:BR.1234567890"
        assert not form.forwarded

    def test_photos(self) -> None:
        form = inbound("mms_two_photos")
        assert (form.num_media, form.kind) == (2, "image")
        assert [media.content_type for media in form.media] == ["image/jpeg", "image/png"]

    def test_a_place(self) -> None:
        form = inbound("whatsapp_location")
        assert form.location == Location("-23.5613", "-46.6565", "MASP", "Av. Paulista, 1578")

    def test_an_advert(self) -> None:
        form = inbound("whatsapp_from_advert")
        assert form.referral
        assert (form.referral.source_id, form.referral.click_id) == ("120208", "ARAk")
        assert (form.body, form.kind) == ("Quero saber mais", "text")

    def test_a_sender_who_hides_the_number(self) -> None:
        assert inbound("whatsapp_hidden_number").from_address.value == "whatsapp:US.1234567890"

    def test_an_opt_out(self) -> None:
        assert inbound("sms_stop").opt_out_type == "STOP"

    def test_a_forwarded_message(self) -> None:
        form = inbound("whatsapp_forwarded")
        assert form.forwarded
        assert form.frequently_forwarded

    def test_the_deprecated_name_of_the_sid_is_enough(self) -> None:
        assert inbound("sms_text", MessageSid=None).message_sid.value == "SM" + "a" * 32

    def test_a_missing_body_is_an_empty_one(self) -> None:
        assert inbound("whatsapp_image", Body=None).body == ""

    def test_attachments_count_even_when_the_number_is_wrong(self) -> None:
        assert len(inbound("whatsapp_image", NumMedia="0").media) == 1
        assert inbound("whatsapp_image", NumMedia="many").num_media == 1

    def test_stored_text_has_no_nul(self) -> None:
        assert inbound("sms_text", Body="a\x00\udcff").body == "a\ufffd\ufffd"

    def test_its_repr_shows_neither_number_nor_text(self) -> None:
        shown = repr(inbound("whatsapp_text"))
        assert "987654321" not in shown
        assert "tudo bem" not in shown


class TestUnusableForms:
    @pytest.mark.parametrize("name", ["From", "To", "AccountSid"])
    @pytest.mark.parametrize("value", [None, ""])
    def test_what_decides_where_it_belongs_must_be_there(self, name: str, value: str | None) -> None:
        assert InboundForm.parse(pairs("sms_text", **{name: value})) == FormProblem(name, "is missing")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("MessageSid", "SM1"),
            ("MessageSid", "SM" + "g" * 32),
            ("AccountSid", "SM" + "0" * 32),
            ("From", "a\nb"),
            ("To", "\udcff"),
            ("To", "+" * 300),
        ],
    )
    def test_identifiers_must_look_like_ones(self, name: str, value: str) -> None:
        problem = InboundForm.parse(pairs("sms_text", **{name: value}))
        assert isinstance(problem, FormProblem)
        assert problem.field == name
        assert value not in problem.why

    @pytest.mark.parametrize("name", ["MessageSid", "AccountSid", "From", "To", "Body", "NumMedia"])
    def test_two_values_for_one_field_are_refused(self, name: str) -> None:
        problem = InboundForm.parse((*pairs("sms_text"), (name, "other")))
        assert problem == FormProblem(name, "came more than once with different values")

    def test_the_same_value_twice_is_harmless(self) -> None:
        assert isinstance(InboundForm.parse(pairs("sms_text") * 2), InboundForm)

    def test_an_unknown_field_may_repeat(self) -> None:
        assert isinstance(InboundForm.parse((*pairs("sms_text"), ("New", "1"), ("New", "2"))), InboundForm)

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(["From", "To", "MessageSid", "NumMedia", "MediaUrl0"]), st.text())))
    def test_nothing_makes_it_raise(self, extra: list[tuple[str, str]]) -> None:
        assert isinstance(InboundForm.parse((*pairs("sms_text"), *extra)), InboundForm | FormProblem)
        assert isinstance(StatusForm.parse(extra), FormProblem)


DESCRIPTIONS = {
    "sms_text": ("Hi", "Hi", "Hi"),
    "whatsapp_text": ("Olá 👋 tudo bem?",) * 3,
    "whatsapp_quick_reply": ("Confirmar",) * 3,
    "whatsapp_list_choice": ("Entrega às 18h",) * 3,
    "whatsapp_image": ("[imagem] olha isto", "[image] olha isto", "[imagen] olha isto"),
    "mms_two_photos": ("[imagem] [imagem] look", "[image] [image] look", "[imagen] [imagen] look"),
    "whatsapp_voice_note": ("[áudio]", "[audio]", "[audio]"),
    "whatsapp_video": ("[vídeo]", "[video]", "[vídeo]"),
    "whatsapp_document": ("[documento] contrato.pdf", "[document] contrato.pdf", "[documento] contrato.pdf"),
    "whatsapp_contact": ("[contato]", "[contact]", "[contacto]"),
    "whatsapp_sticker": ("[figurinha]", "[sticker]", "[sticker]"),
    "whatsapp_reaction": ("[reação: 👍]", "[reaction: 👍]", "[reacción: 👍]"),
    "whatsapp_location": (
        "[localização: -23.5613, -46.6565, MASP, Av. Paulista, 1578]",
        "[location: -23.5613, -46.6565, MASP, Av. Paulista, 1578]",
        "[ubicación: -23.5613, -46.6565, MASP, Av. Paulista, 1578]",
    ),
}


class TestWords:
    @pytest.mark.parametrize("name", DESCRIPTIONS)
    def test_each_kind_is_told_in_the_owners_language(self, name: str) -> None:
        form = inbound(name)
        assert tuple(describe(form, locale) for locale in ("pt-BR", "en", "es-MX")) == DESCRIPTIONS[name]

    @pytest.mark.parametrize("name", INBOUND)
    def test_no_stored_message_is_left_without_words(self, name: str) -> None:
        assert describe(inbound(name))

    @pytest.mark.parametrize(
        ("content_type", "kind"),
        [
            ("image/jpeg", "image"),
            ("IMAGE/PNG", "image"),
            ("image/webp", "sticker"),
            ("audio/ogg; codecs=opus", "audio"),
            ("text/x-vcard", "contacts"),
            ("text/plain", "document"),
            ("font/woff", "media"),
            ("", "media"),
        ],
    )
    def test_without_a_hint_the_content_type_decides(self, content_type: str, kind: str) -> None:
        assert inbound("whatsapp_image", MessageType=None, MediaContentType0=content_type).kind == kind

    def test_an_attachment_is_not_taken_for_a_text(self) -> None:
        assert inbound("whatsapp_image", MessageType="text").kind == "image"

    def test_an_image_that_did_not_come_is_still_told(self) -> None:
        assert describe(inbound("whatsapp_text", MessageType="image", Body="")) == "[imagem]"

    def test_an_unknown_type_says_so(self) -> None:
        form = inbound("whatsapp_text", MessageType="order", Body="")
        assert (form.kind, describe(form, "fr")) == ("unknown", "[message of an unknown type]")

    def test_a_filled_in_form_is_shown(self) -> None:
        form = inbound("whatsapp_list_choice", ListId=None, ListTitle=None, FlowData='{"size":"M"}')
        assert describe(form) == '[resposta interativa: {"size":"M"}]'

    def test_a_button_without_a_label_shows_its_payload(self) -> None:
        form = inbound("whatsapp_quick_reply", ButtonText=None, Body="")
        assert describe(form) == "[botão: confirm_42]"


class TestStatus:
    def test_a_failure_says_why(self) -> None:
        form = status("status_window_closed")
        assert (form.status, form.error_code, form.sid.value) == ("failed", "63016", "SM" + "b" * 32)
        assert form.error_message
        assert form.error_message.startswith("470")

    def test_the_carriers_date_is_kept(self) -> None:
        assert status("status_sms_delivered").raw_done_date == "2607171206"

    def test_the_deprecated_name_is_enough(self) -> None:
        assert status("status_sent", MessageStatus=None).status == "sent"

    def test_without_a_status_it_is_of_no_use(self) -> None:
        problem = StatusForm.parse(pairs("status_sent", MessageStatus=None, SmsStatus=None))
        assert problem == FormProblem("MessageStatus", "is missing")

    def test_whatever_the_order_the_highest_rank_remains(self) -> None:
        for order in permutations(["queued", "sent", "delivered", "read"]):
            current = "accepted"
            for new in order:
                current = new if advances(current, new) else current
            assert current == "read"

    @pytest.mark.parametrize("final", sorted(FAILED))
    @pytest.mark.parametrize("late", sorted(RANK))
    def test_nothing_follows_a_failure(self, final: str, late: str) -> None:
        assert not advances(final, late)

    def test_a_status_that_we_do_not_know_changes_nothing(self) -> None:
        assert not advances("sent", "teleported")
        assert not advances(None, "teleported")
        assert advances(None, "accepted")
        assert advances("teleported", "sent")
