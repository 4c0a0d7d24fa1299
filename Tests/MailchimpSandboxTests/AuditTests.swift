import Testing

@testable import MailchimpSandbox

/// What the sandbox watches over.
@Suite struct AuditTests {
    private func counts(_ visit: Visit) async throws -> (done: JSON?, refused: JSON?, asked: JSON?) {
        let audit = try await visit.control("GET", "/sandbox/audit")["subscribed_against_own_no"]
        return (audit?["carried_out"], audit?["refused"], audit?["asked_again"])
    }

    @Test("a refused attempt against a contact's no is counted apart from one that was carried out")
    func attempts() async throws {
        try await visit { visit in
            let subscribed: JSON = ["status": "subscribed"]
            try await visit.make("ann@people.test", .unsubscribedByContact)
            try await visit.call("PATCH", visit.member("ann@people.test"), subscribed)
            try await visit.call("POST", visit.members, ["email_address": "ann@people.test", "status": "subscribed"])
            var found = try await counts(visit)
            #expect(found.done == 0)
            #expect(found.refused == 2)
            try await visit.control("PATCH", "/sandbox/switches", ["preset": "permissive"])
            try await visit.call("DELETE", visit.member("ann@people.test"))
            try await visit.call("PATCH", visit.member("ann@people.test"), subscribed)
            found = try await counts(visit)
            #expect(found.done == 1)
            try await visit.control("DELETE", "/sandbox/audit")
            found = try await counts(visit)
            #expect(found.done == 0)
            #expect(found.refused == 0)
        }
    }

    @Test("asking again, repeats and plain calls are no attempts")
    func others() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .unsubscribedByContact)
            try await visit.call("PATCH", visit.member("ann@people.test"), ["merge_fields": ["FNAME": "Ann"]])
            try await visit.call("PATCH", visit.member("ann@people.test"), ["status": "pending"])
            try await visit.make("bee@people.test", .unsubscribedByAPI)
            try await visit.call("PATCH", visit.member("bee@people.test"), ["status": "subscribed"])
            let found = try await counts(visit)
            #expect(found.done == 0)
            #expect(found.refused == 0)
            #expect(found.asked == 1)
        }
    }

    @Test("one person who stands in a list twice is found by a merge field; archived contacts do not count")
    func duplicates() async throws {
        try await visit { visit in
            for name in ["a", "b", "c"] {
                let fields: JSON = ["FNAME": name == "c" ? "Other" : "Same"]
                try await visit.call(
                    "POST", visit.members,
                    ["email_address": "\(name)@people.test", "status": "subscribed", "merge_fields": fields])
            }
            let path = "/sandbox/audit?merge_field=FNAME"
            let found = try await visit.control("GET", path)["duplicates"]?.array
            #expect(found?.count == 1)
            #expect(found?.first?["email_addresses"] == ["a@people.test", "b@people.test"])
            try await visit.call("DELETE", visit.member("a@people.test"))
            #expect(try await visit.control("GET", path)["duplicates"] == [])
        }
    }

    @Test("writes that changed nothing are counted by member")
    func repeats() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .subscribed)
            for _ in 0..<3 {
                try await visit.call("PATCH", visit.member("ann@people.test"), ["merge_fields": ["FNAME": "A"]])
            }
            let found = try await visit.control("GET", "/sandbox/audit/repeats")
            #expect(found["writes"] == 4)
            #expect(found["unchanged"] == 2)
            #expect(found["members"]?.array?.first?["email_address"] == "ann@people.test")
        }
    }

    @Test("the control door shows what lies beneath, and what happened")
    func inspection() async throws {
        try await visit { visit in
            try await visit.make("ann@people.test", .archivedAfterOwnNo)
            let member = try await visit.control("GET", "\(visit.door)/members/ann@people.test")
            #expect(member["status"] == "archived")
            #expect(member["beneath"] == "unsubscribed")
            #expect(member["unsubscribed_by"] == "contact")
            #expect(
                member["history"]?.array?.compactMap { $0["what"]?.string } == [
                    "created subscribed", "subscribed to unsubscribed", "unsubscribed to archived",
                ])
            let many = try await visit.control(
                "POST", "\(visit.door)/acts",
                ["act": "unarchive", "by": "admin", "members": ["ann@people.test", "nobody@people.test"]])
            #expect(many["done"] == 1)
            #expect(many["errors"]?.array?.count == 1)
            #expect(try await visit.control("GET", visit.door)["members"]?["unsubscribed"] == 1)
        }
    }
}
