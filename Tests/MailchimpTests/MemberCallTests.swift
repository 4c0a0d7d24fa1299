import FoundationEssentials
import Mailchimp
import Testing

@Suite struct MemberCallTests {
    @Test func `A contact is created, found in three ways, changed, archived and erased`() async throws {
        try await Sandbox.run { sandbox in
            let (client, list) = (sandbox.client, sandbox.list)
            let absent = try await client.member(list, .address("ann@people.test"))
            #expect(absent == nil)
            let created = try await sandbox.add("Ann@people.test", ["FNAME": "Ann", "LNAME": "de Boer"])
            #expect(created.status == .subscribed)
            #expect(created.id == subscriberHash("ann@people.test"))
            let contact = try #require(created.contactID)
            for reference: MemberReference in [.address("ANN@people.test"), .hash(created.id), .contactID(contact)] {
                let found = try await client.member(list, reference)
                #expect(found?.mergeFields["LNAME"]?.text == "de Boer")
            }
            let moved = try await client.update(
                list, .contactID(contact),
                MemberPatch(emailAddress: "anna@people.test", mergeFields: ["FNAME": "Anna"]))
            #expect(moved.contactID == contact)
            #expect(moved.id == subscriberHash("anna@people.test"))
            #expect(moved.status == .subscribed)
            #expect(moved.mergeFields["LNAME"]?.text == "de Boer")

            try await client.archive(list, .contactID(contact))
            let archived = try await client.member(list, .contactID(contact))
            #expect(archived?.status == .archived)
            let again = try await failure { try await client.archive(list, .contactID(contact)) }
            #expect(again.code == .methodNotAllowed)

            try await client.deletePermanently(list, hash: moved.id)
            let erased = try await client.member(list, .contactID(contact))
            #expect(erased == nil)
            let forgotten = try await failure { try await sandbox.add("anna@people.test") }
            #expect(forgotten.code == .forgotten)
        }
    }

    @Test func `Creating a contact that is there is refused, and an upsert leaves its status alone`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.add("ann@people.test")
            let error = try await failure { try await sandbox.add("ann@people.test") }
            #expect(error.code == .memberExists)
            try await sandbox.contact("ann@people.test", "unsubscribe")
            let change = MemberUpsert(
                emailAddress: "ann@people.test", statusIfNew: .subscribed, mergeFields: ["FNAME": "Ann"])
            let member = try await sandbox.client.upsert(sandbox.list, .address("ann@people.test"), change)
            #expect(member.status == .unsubscribed)
            #expect(member.mergeFields["FNAME"]?.text == "Ann")
            let new = MemberUpsert(emailAddress: "bob@people.test", statusIfNew: .subscribed)
            let bob = try await sandbox.client.upsert(sandbox.list, .address("bob@people.test"), new)
            #expect(bob.status == .subscribed)
        }
    }

    @Test func `A contact that said no cannot be subscribed, and its activity says so`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.add("ann@people.test")
            let before = try await sandbox.client.activity(sandbox.list, .address("ann@people.test"))
            #expect(before.isEmpty)
            try await sandbox.contact("ann@people.test", "complain")
            let error = try await failure {
                _ = try await sandbox.client.update(
                    sandbox.list, .address("ann@people.test"), MemberPatch(status: .subscribed))
            }
            #expect(error.code == .complianceState)
            #expect(error.advice == .suppress(.complianceState))
            let activity = try await sandbox.client.activity(sandbox.list, .address("ann@people.test"))
            #expect(activity.contains { $0.action == Activity.Action.complained.rawValue && $0.timestamp != nil })
            let absent = try await failure {
                _ = try await sandbox.client.activity(sandbox.list, .address("bob@people.test"))
            }
            #expect(absent.code == .notFound)
        }
    }

    @Test func `An address that another contact has is not taken from it`() async throws {
        try await Sandbox.run { sandbox in
            try await sandbox.add("ann@people.test")
            try await sandbox.add("bob@people.test")
            let error = try await failure {
                _ = try await sandbox.client.update(
                    sandbox.list, .address("ann@people.test"), MemberPatch(emailAddress: "bob@people.test"))
            }
            #expect([.addressTaken, .memberExists].contains(error.code))
            #expect(error.advice == .lookAgain)
            try await sandbox.contact("ann@people.test", "unsubscribe")
            let fixed = try await failure {
                _ = try await sandbox.client.update(
                    sandbox.list, .address("ann@people.test"), MemberPatch(emailAddress: "new@people.test"))
            }
            #expect(fixed.code == .addressFixed)
        }
    }

    @Test func `A bad address and a bad value are the person's to correct`() async throws {
        try await Sandbox.run { sandbox in
            let error = try await failure { try await sandbox.add("no address") }
            #expect(error.code == .invalidAddress)
            #expect(error.advice == .park)
        }
    }
}
