import Testing

@testable import MailchimpSandbox

/// Interests and marketing permissions of members.
@Suite struct InterestTests {
    private struct Group {
        let category: String
        let ids: [String]
        let path: String
    }

    private func group(_ visit: Visit, _ title: String, _ names: [String]) async throws -> Group {
        let categories = "/3.0/lists/\(visit.list)/interest-categories"
        let made = try await visit.call(
            "POST", categories, ["title": .string(title), "type": "checkboxes"])
        let category = try #require(made["id"].string)
        let path = "\(categories)/\(category)/interests"
        var ids: [String] = []
        for name in names {
            ids.append(try #require(try await visit.call("POST", path, ["name": .string(name)])["id"].string))
        }
        return Group(category: category, ids: ids, path: path)
    }

    private func choose(_ visit: Visit, _ address: String, _ choices: [(String, Bool)]) async throws -> Reading {
        let pairs = choices.map { JSONObject.Pair(key: $0.0, value: .bool($0.1)) }
        return try await visit.call(
            "PATCH", visit.member(address), ["interests": .object(JSONObject(pairs: pairs))])
    }

    @Test("what a call names changes, the rest stays; a member shows every interest of the list")
    func merging() async throws {
        let clock = TestClock()
        try await visit({ $0.clock = clock.read }) { visit in
            try await visit.make("ann@people.test", .subscribed)
            #expect(try await visit.call("GET", visit.member("ann@people.test"))["interests"] == .null)
            let days = try await group(visit, "Days", ["Monday", "Friday"])
            let chosen = try await choose(visit, "ann@people.test", [(days.ids[0], true)])
            #expect(chosen["interests"] == .object(["\(days.ids[0])": true, "\(days.ids[1])": false]))
            let before = chosen["last_changed"]
            clock.advance(5)
            let more = try await choose(visit, "ann@people.test", [(days.ids[1], true)])
            #expect(more["interests"] == .object(["\(days.ids[0])": true, "\(days.ids[1])": true]))
            #expect(more["last_changed"] != before)
            clock.advance(5)
            let same = try await choose(visit, "ann@people.test", [(days.ids[1], true)])
            #expect(same["last_changed"] == more["last_changed"])
            let count = try await visit.call("GET", "\(days.path)/\(days.ids[0])")["subscriber_count"]
            #expect(count == "1")
            #expect(try await visit.call("DELETE", "\(days.path)/\(days.ids[0])").status == 204)
            let left = try await visit.call("GET", visit.member("ann@people.test"))["interests"]
            #expect(left == .object(["\(days.ids[1])": true]))
        }
    }

    @Test("an interest that the list does not have is refused, or passed over by a switch")
    func unknown() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            _ = try await group(visit, "Days", ["Monday"])
            let refused = try await choose(visit, "ann@people.test", [("nothing", true)])
            #expect(refused.title == "Invalid Resource")
            try await visit.control("PATCH", "/sandbox/switches", ["refuses_unknown_choices": false])
            #expect(try await choose(visit, "ann@people.test", [("nothing", true)]).status == 200)
            let wrong = try await visit.call("PATCH", visit.member("ann@people.test"), ["interests": ["x": "yes"]])
            #expect(wrong["errors"].array?.first?["message"] == "Schema describes boolean, string found instead")
        }
    }

    @Test("a listing filters by any, all or none of some interests, and needs all three parameters")
    func filter() async throws {
        try await visit { visit in
            let days = try await group(visit, "Days", ["Monday", "Friday"])
            for (name, choices) in [("none", []), ("one", [0]), ("both", [0, 1])] {
                try await visit.make("\(name)@people.test", .subscribed)
                _ = try await choose(visit, "\(name)@people.test", choices.map { (days.ids[$0], true) })
            }
            let query = "interest_category_id=\(days.category)&interest_ids=\(days.ids.joined(separator: ","))"
            func found(_ match: String) async throws -> [String] {
                let page = try await visit.call("GET", "\(visit.members)?\(query)&interest_match=\(match)")
                return page["members"].array?.compactMap { $0["email_address"]?.string } ?? []
            }
            #expect(try await found("any") == ["one@people.test", "both@people.test"])
            #expect(try await found("all") == ["both@people.test"])
            #expect(try await found("none") == ["none@people.test"])
            for wrong in [query, "interest_match=any", "\(query)&interest_match=some"] {
                #expect(try await visit.call("GET", "\(visit.members)?\(wrong)").status == 400)
            }
        }
    }

    @Test("titles and names are used once in a list; kinds are checked; a category takes its interests along")
    func categories() async throws {
        try await visit { visit in
            let path = "/3.0/lists/\(visit.list)/interest-categories"
            let days = try await group(visit, "Days", ["Monday"])
            let again = try await visit.call("POST", path, ["title": "Days", "type": "radio"])
            #expect(again["detail"] == "An interest category with the title 'Days' already exists.")
            let other = try await group(visit, "Other", ["Friday"])
            let taken = try await visit.call("POST", other.path, ["name": "Monday"])
            #expect(taken["detail"] == "Cannot add \"Monday\" because it already exists on the list.")
            #expect(try await visit.call("POST", path, ["title": "X", "type": "list"]).status == 400)
            #expect(try await visit.call("POST", path, ["title": "X"]).status == 400)
            let renamed = try await visit.call(
                "PATCH", "\(path)/\(other.category)", ["title": "More", "type": "hidden", "display_order": 7])
            #expect(renamed["title"] == "More")
            #expect(try await visit.call("GET", "\(path)?type=hidden")["total_items"] == 1)
            let name = try await visit.call("PATCH", "\(other.path)/\(other.ids[0])", ["name": "Sunday"])
            #expect(name["name"] == "Sunday")
            #expect(try await visit.call("GET", other.path)["total_items"] == 1)
            #expect(try await visit.call("GET", "\(other.path)/\(days.ids[0])").status == 404)
            #expect(try await visit.call("DELETE", "\(path)/\(days.category)").status == 204)
            #expect(try await visit.call("GET", days.path).status == 404)
            #expect(try await visit.call("GET", "\(path)/\(days.category)").status == 404)
        }
    }

    @Test("a list that asks for permissions shows them on its members, and takes them by their ids")
    func permissions() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            let changed = try await visit.call(
                "PATCH", "/3.0/lists/\(visit.list)", ["marketing_permissions": true])
            #expect(changed["marketing_permissions"] == true)
            let all = try await visit.call("GET", visit.member("ann@people.test"))["marketing_permissions"].array
            #expect(all?.count == 3)
            #expect(all?.allSatisfy { $0["enabled"] == false } == true)
            let id = try #require(all?.last?["marketing_permission_id"])
            let given = try await visit.call(
                "PATCH", visit.member("ann@people.test"),
                ["marketing_permissions": [["marketing_permission_id": id, "enabled": true]]])
            #expect(given["marketing_permissions"].array?.compactMap { $0["enabled"]?.bool } == [false, false, true])
        }
    }
}
