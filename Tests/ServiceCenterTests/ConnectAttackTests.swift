import Connector
import HTTPClient
import Postgres
import ServiceCenter
import TestSupport
import Testing

@Suite("Connecting an account: what must not work", .database)
struct ConnectAttackTests {
    /// Sets the clock of the database ahead.
    private func jump(minutes: Int) async throws {
        try await TestDatabase.current.pool.script(
            """
            create or replace function koppeling.now() returns timestamptz
                language sql volatile parallel safe
                return clock_timestamp() + make_interval(mins => \(minutes));
            """)
    }

    @Test func `a second browser is refused at every step, and the first goes on`() async throws {
        try await ConnectBench.run { bench in
            let (id, page) = try await bench.ticket()
            let (first, second) = (bench.browser(), bench.browser())
            let authorize = try await bench.begin(page, first)
            for response in [try await second.get(page), try await second.post(page)] {
                #expect(response.status == 403 && response.text.contains("another browser"))
            }
            #expect(second.cookies.isEmpty)
            let callback = try await bench.answer(authorize)
            let stolen = try await bench.comeBack(callback, second)
            #expect(stolen.status == 403 && stolen.text.contains("another browser"))
            // The state is gone with it; whoever began presses the button again.
            let late = try await bench.comeBack(callback, first)
            #expect(late.status == 403 && late.text.contains("came twice"))
            #expect(try await bench.accounts.list().isEmpty)
            #expect(try await bench.connect(page, first).status == 200)
            _ = try await bench.tickets.wait(for: id)
        }
    }

    @Test func `a state is good once, however many bring it at a time`() async throws {
        try await ConnectBench.run { bench in
            let (id, page) = try await bench.ticket()
            let browser = bench.browser()
            let callback = try await bench.answer(try await bench.begin(page, browser))
            let cookie = try #require(browser.cookies.last)
            let address = bench.door.base + callback.dropFirst(ConnectBench.publicURL.count)
            let ends = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        try await bench.door.http.send(
                            HTTPRequest(url: address, headers: [("Cookie", "\(cookie.name)=\(cookie.value)")])
                        ).location
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(ends.filter { $0.hasSuffix("/result/\(id)") }.count == 1)
            #expect(ends.filter { $0.hasSuffix("/problem/unknownState") }.count == 7)
            #expect(try await bench.accounts.list().count == 1)
            _ = try await bench.tickets.wait(for: id)
        }
    }

    @Test func `a state that was made up, missing, replaced or another ticket's is refused`() async throws {
        try await ConnectBench.run { bench in
            let (_, page) = try await bench.ticket()
            let browser = bench.browser()
            let former = try await bench.answer(try await bench.begin(page, browser))
            let callback = try await bench.answer(try await bench.begin(page, browser))
            let base = "\(ConnectBench.publicURL)/oauth/mailchimp/callback"
            let made = String(repeating: "0", count: 64)
            for query in ["", "?code=1", "?state=&code=1", "?state=\(made)&code=1", "?state[x]=1&code=1", "?%00"] {
                let answer = try await bench.comeBack(base + query, browser)
                #expect(answer.status == 403, "\(query)")
            }
            let replaced = try await bench.comeBack(former, browser)
            #expect(replaced.status == 403, "the button was pressed again, so this state is worth nothing")

            // An attacker's way, finished in the victim's browser: the victim has a ticket too, of another number.
            let (_, theirs) = try await bench.ticket()
            let attacker = bench.browser()
            let planted = try await bench.answer(try await bench.begin(theirs, attacker))
            #expect(try await bench.comeBack(planted, browser).status == 403)
            #expect(try await bench.accounts.list().isEmpty)
            #expect(try await bench.comeBack(callback, browser).status == 200)
        }
    }

    @Test func `after ten minutes neither the address, nor the button, nor the state is good`() async throws {
        try await ConnectBench.run { bench in
            let browser = bench.browser()
            let (unopened, _) = try await bench.ticket()
            let (_, opened) = try await bench.ticket()
            let authorize = try await bench.begin(opened, browser)
            let (left, page) = try await bench.ticket()
            let callback = try await bench.answer(try await bench.begin(page, browser))
            try await jump(minutes: 11)
            #expect(await bench.failure(of: unopened).contains("ten minutes"))
            for response in [try await browser.get(opened), try await browser.post(opened)] {
                #expect(response.status == 410 && response.text.contains("ten minutes"))
            }
            _ = authorize
            let end = try await bench.comeBack(callback, browser)
            #expect(end.status == 410 && end.text.contains("ten minutes"))
            #expect(await bench.failure(of: left).contains("ten minutes"))
            #expect(try await bench.accounts.list().isEmpty)
        }
    }

    @Test func `the result is shown to nobody else, and an unknown ticket tells nothing`() async throws {
        try await ConnectBench.run { bench in
            let (id, page) = try await bench.ticket(name: "Instituut")
            let browser = bench.browser()
            #expect(try await bench.connect(page, browser).status == 200)
            let result = "\(ConnectBench.publicURL)/accounts/connect/result/\(id)"
            #expect(try await browser.get(result).text.contains("Instituut"))
            let stranger = try await bench.browser().get(result)
            #expect(stranger.status == 403 && !stranger.text.contains("Instituut"))
            for path in ["accounts/connect/nonsense", "accounts/connect/result/99", "accounts/connect/result/x"] {
                let answer = try await browser.get("\(ConnectBench.publicURL)/\(path)")
                #expect(answer.status == 404, "\(path)")
            }
            let made = try await browser.get("\(ConnectBench.publicURL)/accounts/connect/problem/%3Cscript%3E")
            #expect(made.status == 404 && !made.text.contains("script"))
        }
    }

    @Test func `a service center without an app or a key says what to set, in the reader's language`() async throws {
        try await withServiceCenter { door in
            for (language, words) in [
                ("nl", "Stel MAILCHIMP_CLIENT_ID"), ("en-GB,nl;q=0.5", "set MAILCHIMP_CLIENT_ID"),
            ] {
                let answer = try await Browser(door.http, language: language).get(door.base + "/accounts/connect/x")
                #expect(answer.status == 503 && answer.text.contains(words), "\(language)")
            }
        }
    }

    @Test func `behind TLS the cookie is for TLS only`() async throws {
        try await ConnectBench.run { bench in
            let publicURL = "https://koppeling.test"
            try await withServiceCenter(tickets: bench.tickets, publicURL: publicURL) { door in
                let (_, ticket) = try await bench.tickets.make(name: nil, renewing: nil)
                let browser = Browser(door.http)
                let opened = try await browser.get("\(door.base)/accounts/connect/\(ticket)")
                #expect(opened.status == 200)
                #expect(browser.cookies.map(\.path) == ["/accounts/connect", "/oauth/mailchimp/callback"])
                for cookie in browser.cookies { #expect(cookie.attributes.contains("Secure")) }
            }
        }
    }
}
