import FoundationEssentials
import HTTPClient
import Testing

@testable import MailchimpSandbox

/// The clock of the sandbox, which a test puts forward.
@Suite struct ClockTests {
    @Test("the clock runs with real time from where it was put, and everything that has a time follows it")
    func advance() async throws {
        try await visit { visit in
            let before = try #require(try await visit.control("GET", "/sandbox/clock")["seconds"]?.integer)
            #expect(abs(before - Int(Date().timeIntervalSince1970)) < 60)
            try await visit.advance(86_400)
            let clock = try await visit.advance(3600)
            #expect(clock["advanced"] == 90_000)
            #expect(((before + 90_000)...(before + 90_060)).contains(clock["seconds"]?.integer ?? 0))
            try await visit.make("ann@people.test", .subscribed)
            let member = try await visit.call("GET", visit.member("ann@people.test"))
            let changed = try #require(Timestamp.milliseconds(member["last_changed"].string ?? ""))
            #expect(changed / 1000 >= before + 90_000)
            for wrong in [["advance": -1], ["advance": "1"], [:]] as [JSON] {
                #expect(try await visit.call("POST", "/sandbox/clock", wrong).status == 400)
            }
            #expect(try await visit.control("GET", "/sandbox/clock")["advanced"] == 90_000)
        }
    }

    @Test("a sandbox can start at any instant")
    func start() async throws {
        let start = try #require(SandboxConfiguration.seconds(iso8601: "2024-02-29T09:00:00+01:00"))
        try await visit({ $0.startsAt = start }) { visit in
            let now = try #require(try await visit.control("GET", "/sandbox/clock")["now"]?.string)
            #expect(now.hasPrefix("2024-02-29T08:0"))
        }
        #expect(SandboxConfiguration.seconds(iso8601: "yesterday") == nil)
    }
}
