"""The accounts, numbers and customers of these tests."""

SID, TOKEN = "AC" + "0" * 32, "0123456789abcdef0123456789abcdef"
OTHER_SID, OTHER_TOKEN = "AC" + "1" * 32, "f" * 32
KEY, KEY_SECRET = "SK" + "2" * 32, "key-secret"

ANA = "whatsapp:+5511987654321"
BAKERY = "whatsapp:+14155238886"
BOB = "+14155550123"
SHOP = "+14155559999"

MESSAGES = f"/2010-04-01/Accounts/{SID}/Messages.json"
