import Testing

@testable import MailchimpSandbox

/// Segments, and members in and out of them by the hundreds.
@Suite struct SegmentTests {
    private func path(_ visit: Visit) -> String { "/3.0/lists/\(visit.list)/segments" }

    private func make(_ visit: Visit, _ name: String, _ addresses: [String] = []) async throws -> Reading {
        try await visit.call(
            "POST", path(visit), ["name": .string(name), "static_segment": .strings(addresses)])
    }

    @Test("a static segment is a tag of its members, and a tag is a segment")
    func isTag() async throws {
        try await visit { visit in
            for name in ["ann", "bee"] { try await visit.make("\(name)@people.test", .subscribed) }
            let made = try await make(visit, "Red", ["ann@people.test", "nobody@people.test", "ANN@people.test"])
            #expect(made["type"] == "static")
            #expect(made["member_count"] == 1)
            let ann = try await visit.call("GET", visit.member("ann@people.test"))
            #expect(ann["tags"] == [["id": made["id"], "name": "Red"]])
            try await visit.call(
                "POST", "\(visit.member("bee@people.test"))/tags", ["tags": [["name": "RED", "status": "active"]]])
            let id = try #require(made["id"].integer)
            #expect(try await visit.call("GET", "\(path(visit))/\(id)")["member_count"] == 2)
            let members = try await visit.call("GET", "\(path(visit))/\(id)/members?count=1&offset=1")
            #expect(members["total_items"] == 2)
            #expect(members["members"].array?.compactMap { $0["email_address"]?.string } == ["bee@people.test"])
            #expect(try await visit.call("DELETE", "\(path(visit))/\(id)").status == 204)
            #expect(try await visit.call("GET", "\(path(visit))/\(id)").status == 404)
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["tags_count"] == 0)
        }
    }

    @Test("five hundred are added and removed in one call, one more is refused; who is not there is passed over")
    func bulk() async throws {
        try await visit { visit in
            try await visit.control("POST", "\(visit.door)/contacts", ["generate": 500])
            let id = try #require(try await make(visit, "Red")["id"].integer)
            let all = (1...501).map { "contact\($0)@people.test" }
            func change(_ field: String, _ addresses: [String]) async throws -> Reading {
                try await visit.call("POST", "\(path(visit))/\(id)", [field: .strings(addresses)])
            }
            for field in ["members_to_add", "members_to_remove"] {
                let refused = try await change(field, all)
                #expect(refused.status == 400)
                #expect(refused["detail"].string?.hasPrefix("Maximum allowed member items exceeded") == true)
            }
            let added = try await change("members_to_add", Array(all.dropFirst()))
            #expect(added["total_added"] == 499)
            #expect(added["error_count"] == 0)
            #expect(added["members_added"].array?.count == 499)
            #expect(try await change("members_to_add", ["contact2@people.test"])["total_added"] == 1)
            try await visit.control("PATCH", "/sandbox/switches", ["segments_count_present": false])
            #expect(try await change("members_to_add", ["contact2@people.test"])["total_added"] == 0)
            let removed = try await change("members_to_remove", ["contact2@people.test", "contact1@people.test"])
            #expect(removed["total_removed"] == 1)
            #expect(try await visit.call("GET", "\(path(visit))/\(id)")["member_count"] == 498)
        }
    }

    @Test("a name is used once; a segment is static or saved; only static ones take members")
    func kinds() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let red = try #require(try await make(visit, "Red", ["ann@people.test"])["id"].integer)
            #expect(try await make(visit, "red")["detail"] == "Sorry, that tag already exists.")
            #expect(try await visit.call("POST", path(visit), ["name": "Neither"]).title == "Invalid Resource")
            #expect(try await visit.call("POST", path(visit), ["static_segment": []]).status == 400)
            let options: JSON = ["match": "any", "conditions": []]
            let saved = try await visit.call("POST", path(visit), ["name": "Saved", "options": options])
            #expect(saved["type"] == "saved")
            #expect(saved["options"] == options)
            let id = try #require(saved["id"].integer)
            let refused = try await visit.call(
                "POST", "\(path(visit))/\(id)", ["members_to_add": ["ann@people.test"]])
            #expect(refused.status == 404)
            let only = try await visit.call("GET", "\(path(visit))?type=static")
            #expect(only["segments"].array?.compactMap { $0["name"]?.string } == ["Red"])
            #expect(try await visit.call("GET", path(visit))["total_items"] == 2)
            let renamed = try await visit.call("PATCH", "\(path(visit))/\(red)", ["name": "Blue"])
            #expect(renamed["member_count"] == 1)
            let emptied = try await visit.call(
                "PATCH", "\(path(visit))/\(red)", ["name": "Blue", "static_segment": []])
            #expect(emptied["member_count"] == 0)
            #expect(try await make(visit, "Red").status == 200)
        }
    }

    @Test("single members come and go, and only subscribed ones count unless asked")
    func scope() async throws {
        try await visit { visit in
            let states: [Visit.State] = [
                .subscribed, .cleaned, .unsubscribedByAPI, .transactional, .archived, .pending,
            ]
            let id = try #require(try await make(visit, "Red")["id"].integer)
            for state in states {
                let address = "\(state.rawValue.lowercased())@people.test"
                try await visit.make(address, state)
                let added = try await visit.call(
                    "POST", "\(path(visit))/\(id)/members", ["email_address": .string(address)])
                #expect(added.status == (state == .archived ? 404 : 200))
            }
            func count(_ query: String) async throws -> JSON {
                let members = try await visit.call("GET", "\(path(visit))/\(id)/members?\(query)")["total_items"]
                #expect(try await visit.call("GET", "\(path(visit))/\(id)?\(query)")["member_count"] == members)
                return members
            }
            #expect(try await count("") == 1)
            #expect(try await count("include_cleaned=true&include_unsubscribed=1&include_transactional=TRUE") == 4)
            let hash = HexID(address: "subscribed@people.test").hex
            #expect(try await visit.call("DELETE", "\(path(visit))/\(id)/members/\(hash)").status == 204)
            #expect(try await count("") == 0)
            let nobody = try await visit.call(
                "POST", "\(path(visit))/\(id)/members", ["email_address": "nobody@people.test"])
            #expect(nobody.status == 404)
        }
    }

    @Test("who is deleted for good is out of every segment, and another with his place is not in it")
    func forgotten() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let id = try #require(try await make(visit, "Red", ["ann@people.test"])["id"].integer)
            try await visit.call("POST", "\(visit.member("ann@people.test"))/actions/delete-permanent")
            try await visit.make("bee@people.test", .subscribed)
            #expect(try await visit.call("GET", "\(path(visit))/\(id)")["member_count"] == 0)
        }
    }

    @Test("whatever comes and goes, a segment holds exactly the members who have its tag, and is found by its name")
    func book() {
        let seed = UInt64.random(in: .min ... .max)
        print("segments: seed \(seed)")
        var generator = SeededGenerator(seed: seed)
        let list = Audience(id: "l", webID: 1, account: "a", name: "News", isDoubleOptIn: false, created: 0)
        var names: [Int: String] = [:]
        for now in 1...2000 {
            let slot = Int.random(in: 0...list.members.count, using: &generator)
            let id = names.keys.sorted().randomElement(using: &generator)
            switch (Int.random(in: 0..<30, using: &generator), id) {
            case (0, _), (_, nil):
                names[now] = "Tag \(now)"
                list.segments.add(Segment(id: now, name: "Tag \(now)", kind: .tag, created: now, updated: now))
            case (1, let id?) where names.count > 5:
                names[id] = nil
                list.removeSegment(id, at: now)
            case (2, let id?):
                names[id] = "Other \(now)"
                list.segments.change(id) { $0.name = "Other \(now)" }
            case (3, _) where list.member(at: slot) != nil: list.remove(slot)
            case (4, _), (3, _):
                let address = "contact\(now)@people.test"
                list.insert(
                    Member(
                        hash: HexID(address: address), address: address, contactID: HexID(random: &generator),
                        webID: now,
                        consent: Consent(.subscribed, by: .admin), lastChanged: now))
            case (let dice, let id?): list.set(id, dice % 3 > 0, of: slot, at: now)
            }
        }
        #expect(Set(list.segments.all.map(\.id)) == Set(names.keys))
        var tagged: [Int: Set<Int>] = [:]
        for (slot, member) in list.members.enumerated() {
            for tag in member?.tags ?? [] { tagged[tag.segment, default: []].insert(slot) }
        }
        #expect(!tagged.isEmpty, "seed \(seed)")
        for (id, name) in names {
            #expect(list.segments.id(named: name.uppercased()) == id, "seed \(seed)")
            #expect(list.segments[id]?.slots == tagged[id, default: []], "seed \(seed)")
        }
    }
}
