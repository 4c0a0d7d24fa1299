import Mailchimp
import Testing

@Suite struct MergeFieldCallTests {
    @Test func `A merge field is added, found and filled`() async throws {
        try await Sandbox.run { sandbox in
            let (client, list) = (sandbox.client, sandbox.list)
            let choice = try NewMergeField(tag: "CHOICE_1", name: "Keuze", kind: .dropdown, choices: ["a", "b"])
            let made = try await client.addMergeField(list, choice)
            #expect(made.tag == "CHOICE_1" && made.name == "Keuze" && made.type == "dropdown")
            #expect(made.choices == ["a", "b"] && !made.isRequired && made.id != nil)
            let listed = try await client.mergeFields(list)
            #expect(listed.contains(made))
            let ann = try await sandbox.add("ann@people.test", ["CHOICE_1": "b"])
            #expect(ann.mergeFields["CHOICE_1"]?.text == "b")
            let wrong = try await failure { try await sandbox.add("bob@people.test", ["CHOICE_1": "c"]) }
            #expect(wrong.code == .invalidMergeFields)
            let twice = try await failure { _ = try await client.addMergeField(list, choice) }
            #expect(twice.code == .alreadyThere)
            #expect(twice.advice == .lookAgain)
        }
    }

    @Test func `A list that is full says so`() async throws {
        try await Sandbox.run { sandbox in
            let (client, list) = (sandbox.client, sandbox.list)
            let error = try await failure {
                for number in 1...81 {
                    _ = try await client.addMergeField(list, NewMergeField(tag: "F\(number)", name: "F\(number)"))
                }
            }
            #expect(error.code == .mergeFieldLimit)
            #expect(error.advice == .park)
        }
    }

    @Test(arguments: ["", "ABCDEFGHIJK", "fname", "A B", "A-B", "É", "A\n", "EMAIL", "١"])
    func `A tag that Mailchimp would refuse or change is not sent`(tag: String) throws {
        let error = #expect(throws: MailchimpError.self) { try NewMergeField(tag: tag, name: "x") }
        #expect(error?.code == .invalidMergeFields)
        #expect(error?.detail.contains("Choose another tag") == true)
    }

    @Test(arguments: ["A", "ABCDEFGHIJ", "F_1", "9"])
    func `Capitals, digits and underscores are a tag`(tag: String) throws {
        #expect(try NewMergeField(tag: tag, name: "x").tag == tag)
    }
}
