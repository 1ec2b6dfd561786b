"""What tests of the page share: pages of a real browser that are watched for problems."""

MILLISECONDS = 15_000
READY = ".tile[data-full] img:not([data-src])"


class Visit:
    """A page of a browser, with everything it reports and every foreign address it asks for."""

    def __init__(self, browser, address, **options):
        self.address, self.problems = address, []
        self.page = browser.new_page(viewport=dict(width=1280, height=800), **options)
        self.page.set_default_timeout(MILLISECONDS)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto(address)

    def _said(self, message):
        # A refused request is one of the answers the page has sentences for.
        if message.type in ("error", "warning") and "status of 4" not in message.text:
            self.problems.append(message.text)

    def _asked(self, request):
        if not request.url.startswith((self.address.split("#")[0], "blob:", "data:")):
            self.problems.append(f"asked for {request.url}")

    def open(self, view):
        """Another view, by its address behind ``#/``; returns when the one before is gone."""
        self.page.locator("main > *").first.evaluate("(one) => { one.dataset.left = '1'; }")
        self.page.goto(f"{self.address}/#/{view}")
        self.page.locator("main > :not([data-left])").first.wait_for()

    def button(self, text):
        """The first button that says so."""
        return self.page.get_by_role("button", name=text).first

    def text(self, selector):
        """What stands there, waited for."""
        return self.page.locator(selector).first.inner_text()

    def wall(self, number=1):
        """Wait for pictures on the wall, and give it the focus."""
        self.page.locator(READY).nth(number - 1).wait_for()
        self.page.locator(".wall").focus()
        return self.page.locator(".tile")

    def press(self, *keys):
        """Keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
