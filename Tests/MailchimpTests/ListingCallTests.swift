import Foundation
import Mailchimp
import Testing

@Suite struct ListingCallTests {
    @Test func `The account, its lists and their fields are read`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.client.ping()
            let account = try await sandbox.client.root()
            #expect(account.accountName == "Sandbox")
            #expect(account.loginID != nil)
            let page = try await sandbox.client.lists()
            #expect(page.lists.map(\.id) == [sandbox.list])
            #expect(page.totalItems == 1)
            let list = try await sandbox.client.list(sandbox.list)
            #expect(list.name == "Nieuwsbrief")
            let fields = try await sandbox.client.mergeFields(sandbox.list)
            #expect(Set(fields.map(\.tag)).isSuperset(of: ["FNAME", "LNAME"]))
            let error = try await failure { _ = try await sandbox.client.list("absent") }
            #expect(error.code == .notFound)
        }
    }

    @Test func `A wrong key is told from a call that is not allowed`() async throws {
        try await Sandbox.run(key: "ffffffffffffffffffffffffffffffff-us1") { sandbox in
            let error = try await failure { try await sandbox.client.ping() }
            #expect(error.code == .invalidKey)
            #expect(error.advice == .waitForAccount)
        }
    }

    @Test func `Members are listed in pages, by status and by change, and counted`() async throws {
        try await Sandbox.run { sandbox in
            let (client, list) = (sandbox.client, sandbox.list)
            try await sandbox.control("POST", "/lists/\(list)/contacts", #"{"generate":25}"#)
            try await sandbox.contact("contact3@people.test", "unsubscribe")
            try await client.archive(list, .address("contact7@people.test"))
            var seen: Set<String> = []
            for offset in stride(from: 0, to: 30, by: 10) {
                let page = try await client.members(list, MemberFilter(offset: offset, count: 10, sort: .lastChanged))
                #expect(page.totalItems == 24)
                seen.formUnion(page.members.map(\.emailAddress))
                #expect(page.members.allSatisfy { $0.contactID != nil && $0.lastChanged != nil })
            }
            #expect(seen.count == 24)
            let unsubscribed = try await client.members(list, MemberFilter(status: .unsubscribed))
            #expect(unsubscribed.members.map(\.emailAddress) == ["contact3@people.test"])
            #expect(unsubscribed.members.first?.unsubscribeReason != nil)
            let archived = try await client.memberCount(list, status: .archived)
            let rest = try await client.memberCount(list)
            #expect(archived == 1 && rest == 24)
            let future = Date().addingTimeInterval(3600)
            let none = try await client.members(list, MemberFilter(sinceLastChanged: future))
            #expect(none.members.isEmpty && none.totalItems == 0)
        }
    }

    @Test func `A raw page is the JSON that Postgres can take apart`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.control("POST", "/lists/\(sandbox.list)/contacts", #"{"generate":1000}"#)
            let raw = try await sandbox.client.rawMembers(sandbox.list)
            let page = try JSONDecoder().decode(MemberPage.self, from: Data(raw.bytes))
            #expect(page.members.count == 1000)
            #expect(raw.count == 1000)
            #expect(!String(decoding: raw.bytes, as: UTF8.self).contains("_links"))
            for effect in ["truncated", "malformed"] {
                try await sandbox.fault(effect)
                let error = try await failure { _ = try await sandbox.client.rawMembers(sandbox.list) }
                #expect([.malformedResponse, .transport].contains(error.code))
                #expect(error.advice == .retry)
            }
        }
    }

    @Test func `A bulk call says of each address what became of it`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.add("there@people.test")
            try await sandbox.contact("there@people.test", "unsubscribe")
            let members = ["new@people.test", "There@people.test", "no address", "zoë@people.test"].map {
                NewMember(emailAddress: $0, mergeFields: ["FNAME": "Zoë"])
            }
            let result = try await sandbox.client.bulkCreate(sandbox.list, members, skipMergeValidation: true)
            guard case .created(let new) = result.outcomes["new@people.test"] else {
                Issue.record("new@people.test was not created: \(result)")
                return
            }
            #expect(new.status == .subscribed)
            #expect(new.mergeFields["FNAME"]?.text == "Zoë")
            #expect(new.contactID != nil)
            guard case .refused(let there) = result.outcomes["there@people.test"] else {
                Issue.record("there@people.test was not refused")
                return
            }
            #expect(there.code == .memberExists)
            #expect(result.errors.contains { $0.code == .invalidAddress })
            let kept = try await sandbox.client.member(sandbox.list, .address("there@people.test"))
            #expect(kept?.status == .unsubscribed)
            let none = try await sandbox.client.member(sandbox.list, .address("no address"))
            #expect(none == nil)
        }
    }

    @Test func `A bulk call of more than five hundred is refused whole`() async throws {
        try await Sandbox.run { sandbox in
            let members = (0...MailchimpClient.maximumBulk).map { NewMember(emailAddress: "p\($0)@people.test") }
            _ = try await failure { _ = try await sandbox.client.bulkCreate(sandbox.list, members) }
            let result = try await sandbox.client.bulkCreate(sandbox.list, Array(members.dropLast()))
            #expect(result.newMembers.count == 500 && result.outcomes.count == 500)
        }
    }

    @Test func `Those who unsubscribed lately are found, and one by the name of its address`() async throws {
        try await Sandbox.run { sandbox in
            let ann = try await sandbox.add("ann@people.test")
            try await sandbox.add("bob@people.test")
            try await sandbox.contact("ann@people.test", "unsubscribe")
            let hour = MemberFilter(status: .subscribed, unsubscribedSince: Date() - 3600)
            let left = try await sandbox.client.members(sandbox.list, hour)
            #expect(left.members.map(\.emailAddress) == ["ann@people.test"])
            let future = MemberFilter(unsubscribedSince: Date() + 3600)
            let none = try await sandbox.client.members(sandbox.list, future)
            #expect(none.members.isEmpty)
            let one = try await sandbox.client.members(sandbox.list, MemberFilter(uniqueEmailID: ann.uniqueEmailID))
            #expect(one.members.map(\.id) == [ann.id])
        }
    }
}
