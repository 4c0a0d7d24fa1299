import Testing

@testable import Mailchimp

@Suite struct CallTests {
    @Test func `Parts of a path and of a query cannot reach beyond themselves`() {
        let call = Call.get("lists", "a/b?c", "..", "x y+é", query: [("fields", "a.b,c"), ("q", "1&r=2#")])
        #expect(call.target == "/lists/a%2Fb%3Fc/%2E%2E/x%20y%2B%C3%A9?fields=a.b%2Cc&q=1%26r%3D2%23")
        #expect(Call.get().target == "/")
    }

    @Test func `An address stands in a path as its hash`() {
        #expect(MemberReference.address("Ann@Example.org").pathPart == subscriberHash("ann@example.org"))
        #expect(subscriberHash("Urist.McVankab@freddiesjokes.com") == "62eeb292278cc15f5817cb78f7790b08")
    }

    @Test func `A write holds what changes and nothing else`() throws {
        let patch = try Call.json(MemberPatch(mergeFields: ["FNAME": ""]))
        #expect(String(decoding: patch, as: UTF8.self) == #"{"merge_fields":{"FNAME":""}}"#)
        #expect(String(decoding: try Call.json(MemberPatch()), as: UTF8.self) == "{}")
        let number = try Call.json(["A": MergeValue.number(100)])
        #expect(String(decoding: number, as: UTF8.self) == #"{"A":100}"#)
        #expect(throws: MailchimpError.self) { try Call.json(["A": MergeValue.number(.nan)]) }
    }
}
