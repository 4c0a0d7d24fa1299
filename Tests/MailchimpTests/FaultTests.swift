import HTTPClient
import Mailchimp
import TestSupport
import Testing

@Suite struct FaultTests {
    @Test(
        arguments: [
            ("429", .tooManyRequests, .retry), ("429_empty", .tooManyRequests, .retry),
            ("403_html", .overloaded, .retry),
            ("500", .overloaded, .retry), ("502_html", .overloaded, .retry), ("503", .overloaded, .retry),
            ("503_akamai", .overloaded, .retry), ("compliance", .accountBlocked, .stop),
            ("contact_limit", .contactLimit, .waitForAccount), ("reset", .transport, .retry),
        ] as [(String, MailchimpError.Code, Advice)])
    func `What goes wrong at Mailchimp or on the way is named, and the next call is none the worse`(
        effect: String, code: MailchimpError.Code, advice: Advice
    ) async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.fault(effect)
            let error = try await failure { try await sandbox.add("ann@people.test") }
            #expect(error.code == code)
            #expect(error.advice == advice)
            #expect(!"\(error)".contains("ann@"))
            try await sandbox.add("bob@people.test")
        }
    }

    @Test(arguments: ["reset", "truncated", "malformed", "502_html"])
    func `A reply that was lost after the work was done leaves the question open`(effect: String) async throws {
        try await Sandbox.run { sandbox in
            // The connection is in use already, which is when a library likes to repeat a call by itself.
            try await sandbox.client.ping()
            try await sandbox.fault(effect, when: "after")
            let error = try await failure { try await sandbox.add("ann@people.test") }
            #expect(error.mayHaveBeenProcessed)
            #expect(error.advice == .retry)
            let member = try await sandbox.client.member(sandbox.list, .address("ann@people.test"))
            #expect(member?.status == .subscribed)
        }
    }

    @Test func `Slow bytes arrive in the end`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.fault("slow", milliseconds: 200)
            let account = try await sandbox.client.root()
            #expect(account.accountName == "Sandbox")
        }
    }

    @Test func `A call that is cancelled while Mailchimp hangs ends at once`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.fault("hang", milliseconds: 60_000)
            let task = Task { try await failure { try await sandbox.add("ann@people.test") } }
            try await eventually("the call hangs") {
                try await sandbox.control("GET", "/faults").contains(#""hits":1"#)
            }
            task.cancel()
            let error = try await task.value
            #expect(error.isCancellation)
            #expect(error.mayHaveBeenProcessed)
        }
    }

    @Test func `With no sandbox there at all nothing was sent`() async throws {
        let http = HTTPClient(allowPlaintext: true)
        defer { http.shutdown() }
        let client = try MailchimpClient(
            credential: .accessToken("token", dataCentre: "us1"), http: http, rootOverride: "http://127.0.0.1:1/3.0/")
        let error = try await failure { try await client.ping() }
        #expect(error.cause?.code == .connect)
        #expect(!error.mayHaveBeenProcessed)
    }

    @Test func `A stand-in that is reached in the clear needs a transport that allows it`() async throws {
        let http = HTTPClient()
        defer { http.shutdown() }
        let client = try MailchimpClient(
            credential: .accessToken("token", dataCentre: "us1"), http: http, rootOverride: "http://127.0.0.1:1")
        let error = try await failure { try await client.ping() }
        #expect(error.cause?.code == .badURL)
        #expect(error.advice == .alarm)
    }
}
