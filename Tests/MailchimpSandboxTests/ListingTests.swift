import Testing

@testable import MailchimpSandbox

/// Pages of members and their filters.
@Suite struct ListingTests {
    private func addresses(_ visit: Visit, _ query: String) async throws -> [String] {
        let reading = try await visit.call("GET", "\(visit.members)?\(query)")
        return reading["members"].array?.compactMap { $0["email_address"]?.string } ?? []
    }

    @Test("paging goes through everybody once, and past the end is an empty page")
    func paging() async throws {
        try await visit { visit in
            try await visit.control("POST", "\(visit.door)/contacts", ["generate": 25])
            var seen: [String] = []
            for offset in stride(from: 0, to: 40, by: 10) {
                let page = try await visit.call("GET", "\(visit.members)?offset=\(offset)")
                #expect(page["total_items"] == 25)
                seen += page["members"].array?.compactMap { $0["email_address"]?.string } ?? []
            }
            #expect(seen.count == 25)
            #expect(Set(seen).count == 25)
            #expect(try await addresses(visit, "count=1000").count == 25)
            try await visit.control("POST", "\(visit.door)/contacts", ["generate": 976, "prefix": "other"])
            let large = "\(visit.members)?count=1001&fields=members.id"
            #expect(try await visit.call("GET", large)["members"].array?.count == 1000)
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_large_pages": true])
            #expect(try await visit.call("GET", large).status == 400)
            for wrong in ["count=-1", "count=many", "offset=-1", "since_last_campaign=true"] {
                #expect(try await visit.call("GET", "\(visit.members)?\(wrong)").status == 400, "\(wrong)")
            }
        }
    }

    @Test("archived contacts are left out unless asked for")
    func archived() async throws {
        try await visit { visit in
            for state in [Visit.State.subscribed, .archived, .unsubscribedByAPI, .cleaned] {
                try await visit.make("\(state.rawValue.lowercased())@people.test", state)
            }
            #expect(
                try await addresses(visit, "count=10") == [
                    "subscribed@people.test", "unsubscribedbyapi@people.test", "cleaned@people.test",
                ])
            #expect(try await addresses(visit, "status=archived") == ["archived@people.test"])
            #expect(try await addresses(visit, "status=cleaned") == ["cleaned@people.test"])
            #expect(try await visit.call("GET", "\(visit.members)?status=nothing").status == 400)
            try await visit.control("PATCH", "/sandbox/switches", ["listing_hides_archived": false])
            #expect(try await addresses(visit, "").count == 4)
        }
    }

    @Test("changes since and before an instant, in order, exclusive or inclusive by a switch")
    func sinceLastChanged() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            for name in ["a", "b", "c", "d"] {
                try await visit.make("\(name)@people.test", .subscribed)
                clock.advance(10)
            }
            try await visit.call("PATCH", visit.member("a@people.test"), ["merge_fields": ["FNAME": "A"]])
            let second = Timestamp.text(1_700_000_010).replacing("+00:00", with: "%2B00:00")
            let later = "since_last_changed=\(second)&sort_field=last_changed&sort_dir=ASC"
            #expect(try await addresses(visit, later) == ["c@people.test", "d@people.test", "a@people.test"])
            #expect(try await addresses(visit, later.replacing("ASC", with: "DESC")).first == "a@people.test")
            #expect(try await addresses(visit, "before_last_changed=\(second)") == [])
            let all = "since_last_changed=2023-11-14T22:13:20.999Z&before_last_changed=2023-11-14T22:13:50Z"
            #expect(try await addresses(visit, all) == ["b@people.test", "c@people.test"])
            try await visit.control("PATCH", "/sandbox/switches", ["since_is_inclusive": true])
            #expect(try await addresses(visit, later).first == "b@people.test")
            #expect(try await visit.call("GET", "\(visit.members)?since_last_changed=yesterday").status == 400)
        }
    }

    @Test("fields and exclude_fields pick from the root of the answer")
    func fields() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let only = try await visit.call(
                "GET", "\(visit.members)?fields=members.email_address,members.merge_fields.FNAME,total_items")
            #expect(
                only.json == [
                    "members": [["email_address": "ann@people.test", "merge_fields": ["FNAME": ""]]], "total_items": 1,
                ])
            let without = try await visit.call(
                "GET", "\(visit.members)?exclude_fields=_links,members._links,email_address")
            #expect(without["_links"] == .null)
            let member = try #require(without["members"].array?.first)
            #expect(member["_links"] == nil)
            #expect(member["email_address"] == "ann@people.test")
            let path = visit.member("ann@people.test")
            #expect(try await visit.call("GET", "\(path)?fields=nothing").json == [:])
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_unknown_fields": true])
            #expect(try await visit.call("GET", "\(path)?fields=id,nothing").title == "RequestedFieldsInvalid")
            #expect(try await visit.call("GET", "\(path)?fields=id,unsubscribe_reason").status == 200)
            #expect(try await visit.call("GET", "\(visit.members)?fields=members.nothing").status == 200)
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_both_field_lists": true])
            let both = try await visit.call("GET", "\(path)?fields=id&exclude_fields=status")
            #expect(both.status == 422)
        }
    }

    @Test("the order of changes is that of a plain list of all changes")
    func changeOrder() {
        var generator = SeededGenerator(seed: 42)
        var order = ChangeOrder()
        var plain: [(slot: Int, at: Int)] = []
        for now in 0..<4000 {
            let slot = Int.random(in: 0..<300, using: &generator)
            if Int.random(in: 0..<20, using: &generator) == 0 {
                order.remove(slot)
                plain.removeAll { $0.slot == slot }
            } else {
                order.touch(slot, at: now / 3)
                plain.removeAll { $0.slot == slot }
                plain.append((slot, now / 3))
            }
            guard now % 100 == 0 else { continue }
            let since = Int.random(in: 0...now, using: &generator) / 3
            var found: [Int] = []
            order.visit(from: since, before: since + 50, descending: false) { found.append($0) }
            #expect(found == plain.filter { $0.at >= since && $0.at < since + 50 }.map(\.slot))
        }
    }
}
