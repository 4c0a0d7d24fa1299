import Testing

@testable import MailchimpSandbox

/// What a seed repeats.
@Suite struct SeedTests {
    /// What a run shows that could be otherwise in another one.
    private func run(seed: UInt64) async throws -> [JSON] {
        var shown: [JSON] = []
        try await visit({ $0.seed = seed }) { visit in
            try await withReceiver { receiver in
                try await visit.control(
                    "PUT", "/sandbox/webhooks", ["drop_share": 0.5, "shuffle_milliseconds": 60_000])
                let hook = try await visit.subscribe(receiver)
                // No seed of its own: it comes from the sandbox's.
                try await visit.control(
                    "POST", "/sandbox/faults", ["effect": "500", "share": 0.5, "match": ["method": "POST"]])
                for number in 0..<20 { try await visit.make("p\(number)@people.test", .subscribed) }
                try await visit.control("POST", "\(visit.door)/contacts", ["generate": 20])
                let members = try await visit.call(
                    "GET", "\(visit.members)?count=100&fields=members.id,members.contact_id")
                let lost = try await visit.control("GET", "/sandbox/webhooks")["dropped"] ?? .null
                let waiting = try await visit.control("GET", "/sandbox/webhooks/waiting")["waiting"]?.array ?? []
                shown = [
                    .string(visit.list), hook["id"], hook["signing_secret"], members.json, lost,
                    .array(waiting.compactMap { $0["delivery"] }),
                ]
            }
        }
        return shown
    }

    @Test("the same seed and the same calls one after another give the same identifiers, faults and noise")
    func repeats() async throws {
        let first = try await run(seed: 7)
        let again = try await run(seed: 7)
        let other = try await run(seed: 8)
        #expect(first == again)
        // The identifiers come first; counts can be the same by chance.
        for index in 0..<4 { #expect(first[index] != .null && first[index] != other[index], "\(index)") }
    }
}
