import Connector
import Foundation
import HTTPClient
import Mailchimp
import MailchimpSandbox
import Postgres
import TestSupport
import Testing

@Suite("Connecting an account in a browser", .database)
struct ConnectTests {
    @Test func `the whole way: the command learns which account it is, and its lists can be read`() async throws {
        try await ConnectBench.run { bench in
            await bench.sandbox.server.addList(name: "Nieuwsbrief")
            let (id, page) = try await bench.ticket(name: "Instituut")
            let browser = bench.browser(language: nil)
            let opened = try await browser.get(page)
            #expect(opened.text.contains("<button>Verbinden met Mailchimp</button>"))
            let end = try await bench.connect(page, browser)
            #expect(end.status == 200)
            #expect(end.text.contains("Instituut") && end.text.contains("us1"))
            let account = try await bench.tickets.wait(for: id)
            #expect(account.name == "Instituut" && account.authenticated)
            let instances = Instances(pool: bench.pool, accounts: bench.accounts, vault: bench.sandbox.vault)
            #expect(try await instances.lists(account: account).map(\.name) == ["Nieuwsbrief"])
            let kind = try await bench.pool.query("select credential from koppeling.account_status").scalar(
                as: String.self)
            #expect(kind == "token")
        }
    }

    @Test func `no secret of the way stays anywhere: not in the log, not in a table, not with anything the pages load`()
        async throws
    {
        try await ConnectBench.run { bench in
            let (_, page) = try await bench.ticket()
            let browser = bench.browser()
            let opened = try await browser.get(page)
            let authorize = try await bench.begin(page, browser)
            let callback = try await bench.answer(authorize)
            let redirect = try await browser.get(callback)
            let end = try await browser.get("http://koppeling.test" + redirect.location)
            #expect(end.status == 200)

            let tokens = try await bench.sandbox.control("GET", "apps").decode(Apps.self).apps[0].tokens
            var secrets = tokens + [ConnectBench.clientSecret, String(page.split(separator: "/").last ?? "")]
            secrets += browser.cookies.map(\.value)
            for name in ["code", "state"] {
                secrets.append(
                    try #require(URLComponents(string: callback)?.queryItems?.first { $0.name == name }?.value))
            }
            #expect(secrets.count == 7 && secrets.allSatisfy { $0.count >= 16 })
            let tables = try await contents(
                of: ["mailchimp_account", "account_ticket", "job", "job_history"], bench.pool)
            let pages = [opened, redirect, end].map { "\($0.headers)" + $0.text }.joined()
            for secret in secrets {
                #expect(!bench.door.log.text.contains(secret))
                #expect(!tables.contains(secret))
            }
            for secret in secrets.dropLast(0) where !browser.cookies.map(\.value).contains(secret) {
                #expect(!pages.contains(secret))
            }
            #expect(try await bench.pool.query("select count(*) from koppeling.job").scalar(as: Int.self) == 0)
            for response in [opened, redirect, end] {
                #expect(response.header("Referrer-Policy") == "no-referrer")
                #expect(response.header("Cache-Control") == "no-store")
                #expect(response.header("X-Frame-Options") == "DENY")
            }
            for response in [opened, end] {
                let policy = try #require(response.header("Content-Security-Policy"))
                #expect(
                    policy.hasPrefix("default-src 'none'; style-src 'sha256-")
                        && policy.contains("frame-ancestors 'none'"))
                #expect(!response.text.contains("src=") && !response.text.contains("<script"))
            }
            #expect(
                opened.header("Content-Security-Policy")?.contains("form-action 'self' \(bench.sandbox.root);") == true)
            #expect(browser.cookies.count == 2)
            #expect(Set(browser.cookies.map(\.path)) == ["/crm/accounts/connect", "/crm/oauth/mailchimp/callback"])
            for cookie in browser.cookies {
                #expect(cookie.attributes.contains("HttpOnly") && cookie.attributes.contains("SameSite=Lax"))
                #expect(!cookie.attributes.contains("Secure"), "the public address is http here")
            }
        }
    }

    private struct Apps: Decodable {
        struct App: Decodable { var tokens: [String] }
        var apps: [App]
    }

    private func contents(of tables: [String], _ pool: Pool) async throws -> String {
        var text = ""
        for table in tables {
            let rows = try await pool.query("select t::text as line from koppeling.\(unsafe: table) t")
            for row in rows { text += try row.decode("line", as: String.self) }
        }
        return text
    }

    @Test func `who says no at Mailchimp, and what Mailchimp says no to, ends the command with what to do`()
        async throws
    {
        try await ConnectBench.run { bench in
            let (id, page) = try await bench.ticket()
            let browser = bench.browser()
            let denied = try await bench.answer(try await bench.begin(page, browser), "deny")
            let end = try await bench.comeBack(denied, browser)
            #expect(end.status == 403 && end.text.contains("choose Allow"))
            #expect(await bench.failure(of: id).contains("choose Allow"))
            let again = try await browser.get(page)
            #expect(again.status == 410 && again.text.contains("has done its work"))

            // Somebody else has changed the code before.
            let (second, secondPage) = try await bench.ticket()
            let callback = try await bench.answer(try await bench.begin(secondPage, browser))
            let code = try #require(URLComponents(string: callback)?.queryItems?.first { $0.name == "code" }?.value)
            _ = try await bench.app.token(code: code)
            let used = try await bench.comeBack(callback, browser)
            #expect(used.status == 400 && used.text.contains("good once"))
            #expect(await bench.failure(of: second).contains("run the command again"))

            let (third, thirdPage) = try await bench.ticket()
            let late = try await bench.answer(try await bench.begin(thirdPage, browser))
            try await bench.sandbox.control("PATCH", "apps/\(ConnectBench.clientID)", #"{"client_secret": "new"}"#)
            let refused = try await bench.comeBack(late, browser)
            #expect(refused.status == 503 && refused.text.contains("MAILCHIMP_CLIENT_SECRET"))
            #expect(await bench.failure(of: third).contains("MAILCHIMP_CLIENT_SECRET"))

            let (fourth, fourthPage) = try await bench.ticket()
            let unanswered = try await bench.answer(try await bench.begin(fourthPage, browser))
            await bench.sandbox.server.stop()
            let silent = try await bench.comeBack(unanswered, browser)
            #expect(silent.status == 502 && silent.text.contains("did not answer"))
            #expect(await bench.failure(of: fourth).contains("in a few minutes"))
            #expect(try await bench.accounts.list().isEmpty)
        }
    }

    @Test func `a login that is connected already, a name that is taken, a renewal by another login`() async throws {
        try await ConnectBench.run { bench in
            try await bench.sandbox.control("POST", "accounts", #"{"name": "Ander"}"#)
            let account = try await bench.accounts.connect(apiKey: SandboxAtWork.key, name: "<b>&'Instituut")
            let browser = bench.browser()
            let (first, firstPage) = try await bench.ticket(name: "Twee")
            let twice = try await bench.connect(firstPage, browser)
            #expect(twice.status == 409 && twice.text.contains("koppeling account renew"))
            #expect(twice.text.contains("&lt;b&gt;&amp;&#39;Instituut") && !twice.text.contains("<b>"))
            #expect(await bench.failure(of: first).contains("koppeling account renew"))

            let (second, secondPage) = try await bench.ticket(name: account.name)
            #expect(try await bench.connect(secondPage, browser, user: 1).status == 409)
            #expect(await bench.failure(of: second).contains("--name"))

            let (third, thirdPage) = try await bench.ticket(renewing: account)
            let wrong = try await bench.connect(thirdPage, browser, user: 1)
            #expect(wrong.status == 409 && wrong.text.contains("another login"))
            #expect(await bench.failure(of: third).contains("another login"))

            let (fourth, fourthPage) = try await bench.ticket(renewing: account)
            let asked = try await browser.get(fourthPage)
            #expect(asked.text.contains("&lt;b&gt;&amp;&#39;Instituut"))
            #expect(try await bench.connect(fourthPage, browser).status == 200)
            #expect(try await bench.tickets.wait(for: fourth).id == account.id)
            let kind = try await bench.pool.query("select credential from koppeling.account_status").scalar(
                as: String.self)
            #expect(kind == "token")
        }
    }
}
