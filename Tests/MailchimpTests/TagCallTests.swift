import Mailchimp
import Testing

@Suite struct TagCallTests {
    @Test func `Tags are given, read and taken away`() async throws {
        try await Sandbox.run { sandbox in
            let ann = try await sandbox.add("ann@people.test")
            let changes = [TagChange("Vrienden", isActive: true), TagChange("crm", isActive: true)]
            try await sandbox.client.changeTags(sandbox.list, hash: ann.id, changes)
            let tags = try await sandbox.client.tags(sandbox.list, hash: ann.id)
            #expect(Set(tags.map(\.name)) == ["Vrienden", "crm"])
            // Another spelling is the same tag, and one that nobody has may be taken.
            let others = [TagChange("VRIENDEN", isActive: false), TagChange("unheard of", isActive: false)]
            try await sandbox.client.changeTags(sandbox.list, hash: ann.id, others)
            let left = try await sandbox.client.tags(sandbox.list, hash: ann.id)
            #expect(left.map(\.name) == ["crm"])
            let member = try await sandbox.client.member(sandbox.list, .hash(ann.id))
            #expect(member?.tags == ["crm"])
            let nobody = subscriberHash("nobody@people.test")
            let given = try await failure {
                try await sandbox.client.changeTags(sandbox.list, hash: nobody, [TagChange("crm", isActive: true)])
            }
            let read = try await failure { _ = try await sandbox.client.tags(sandbox.list, hash: nobody) }
            #expect(given.code == .notFound && read.code == .notFound)
        }
    }

    @Test func `A tag is given to many at once, and whoever is not in the list is named`() async throws {
        try await Sandbox.run { sandbox in
            let (client, list) = (sandbox.client, sandbox.list)
            for name in ["ann", "bob", "cor"] { try await sandbox.add("\(name)@people.test") }
            let tag = try await client.createTag(list, name: "crm", addresses: ["ann@people.test"])
            let change = try await client.changeTag(
                list, tag.id, adding: ["BOB@people.test", "cor@people.test", "nobody@people.test"],
                removing: ["ann@people.test"])
            #expect(Set(change.added) == ["bob@people.test", "cor@people.test"])
            #expect(change.removed == ["ann@people.test"])
            #expect(change.totalAdded == 2 && change.totalRemoved == 1)
            #expect(change.unreported == ["nobody@people.test"] || !change.errors.isEmpty)
            #expect(!change.isComplete)
            let page = try await client.tags(list)
            #expect(page.tags.map(\.id) == [tag.id] && page.totalItems == 1)
            #expect(page.tags.first?.memberCount == 2)
            let whole = try await client.changeTag(list, tag.id, removing: ["bob@people.test"])
            #expect(whole.isComplete)
            try await client.deleteTag(list, tag.id)
            let none = try await client.tags(list)
            #expect(none.tags.isEmpty)
            let gone = try await failure { try await client.deleteTag(list, tag.id) }
            #expect(gone.code == .notFound)
        }
    }

    @Test func `More than five hundred at once are a mistake of ours`() async throws {
        try await Sandbox.run { sandbox in
            let tag = try await sandbox.client.createTag(sandbox.list, name: "crm")
            let addresses = (0...MailchimpClient.maximumSegmentChange).map { "p\($0)@people.test" }
            let error = try await failure {
                _ = try await sandbox.client.changeTag(sandbox.list, tag.id, adding: addresses)
            }
            #expect(error.code == .schema)
            #expect(error.advice == .alarm)
        }
    }
}
