import Foundation
import Testing

@testable import Mailchimp

@Suite struct DecodingTests {
    @Test func `A whole member is read`() throws {
        let member = try decode(
            Member.self,
            """
            {"id":"5eb0d793a5aa4f1b9fd29305d6afbf7c","email_address":"ann@example.org","unique_email_id":"7ee8f2229e",
            "contact_id":"93b835cc104791040b356ff76030415d","full_name":"Ann","web_id":400751728,"email_type":"html",
            "status":"subscribed","merge_fields":{"FNAME":"Ann","LTV":15.5,"USERID":100,"ADDRESS":"",
            "HOME":{"addr1":"Kade 1","city":"Utrecht"}},"timestamp_signup":"","timestamp_opt":"2021-11-23T22:51:56+00:00",
            "last_changed":"2021-11-23T22:51:56+00:00","language":"","source":"API - Generic","tags_count":1,
            "tags":[{"id":1,"name":"crm"}],"list_id":"a36b032126"}
            """)
        #expect(member.contactID == "93b835cc104791040b356ff76030415d")
        #expect(member.webID == 400_751_728)
        #expect(member.status == .subscribed)
        #expect(member.mergeFields["LTV"] == .number(15.5))
        #expect(member.mergeFields["USERID"]?.text == "100")
        #expect(member.mergeFields["ADDRESS"] == .text(""))
        #expect(member.mergeFields["HOME"] == .parts(["addr1": "Kade 1", "city": "Utrecht"]))
        #expect(member.language == nil)
        #expect(member.tags == ["crm"])
        #expect(member.lastChanged == Date(timeIntervalSince1970: 1_637_707_916))
        #expect(try decode(Member.self, String(decoding: JSONEncoder().encode(member), as: UTF8.self)) == member)
    }

    @Test func `A member of odd types and missing keys is read all the same`() throws {
        let member = try decode(
            Member.self,
            """
            {"email_address":"Ann@Example.org","status":"brandnew","web_id":"42","contact_id":null,"last_changed":"",
            "merge_fields":[],"tags":["crm",{"name":7}],"source":12,"unique_email_id":{"odd":true}}
            """)
        #expect(member.id == subscriberHash("ann@example.org"))
        #expect(member.status == .unknown("brandnew"))
        #expect(member.webID == 42)
        #expect(member.contactID == nil && member.lastChanged == nil && member.uniqueEmailID == nil)
        #expect(member.mergeFields.isEmpty)
        #expect(member.tags == ["crm", "7"])
        #expect(member.source == "12")
    }

    @Test(arguments: [#"{"status":"subscribed"}"#, #"{"id":"a","email_address":"a@example.org"}"#, "[]", "null", "7"])
    func `A member without identity or status is not guessed at`(json: String) {
        #expect(throws: (any Error).self) { try decode(Member.self, json) }
    }

    @Test(arguments: [#"{"total_items":0}"#, "{}", #"{"members":null}"#, #"{"members":{}}"#, #"{"members":[{}]}"#])
    func `A page that does not say who is on it is not taken for an empty one`(json: String) {
        #expect(throws: (any Error).self) { try decode(MemberPage.self, json) }
    }

    @Test(arguments: [
        "subscribed", "unsubscribed", "cleaned", "pending", "transactional", "archived", "", "Subscribed",
    ])
    func `A status is the word that Mailchimp uses`(word: String) {
        #expect(MemberStatus(rawValue: word).rawValue == word)
        #expect((MemberStatus(rawValue: word) == .subscribed) == (word == "subscribed"))
    }

    @Test(arguments: [
        ("2021-11-23T22:51:56+00:00", 1_637_707_916), ("2021-11-23T22:51:56Z", 1_637_707_916),
        ("2021-11-23T23:51:56+01:00", 1_637_707_916), ("2021-11-23T20:21:56-0230", 1_637_707_916),
        ("2021-11-23 22:51:56", 1_637_707_916), ("2021-11-23T22:51:56.5+00:00", 1_637_707_916.5),
        ("1970-01-01", 0), ("2000-02-29T00:00:00Z", 951_782_400), ("1969-12-31T23:59:59Z", -1),
    ])
    func `A point in time is read in every form that is seen`(text: String, seconds: Double) {
        #expect(Timestamp.parse(text) == Date(timeIntervalSince1970: seconds))
    }

    @Test(arguments: [
        "", "yesterday", "2021-13-01", "2021-11-23T", "2021-11-23T22:51", "2021-11-23T22:51:56+0", "21-11-23",
        "0001-12-31T23:59:59Z", "0000-01-01", "9999-12-31T23:59:60-0230", "9998-12-31T23:59:60-0230",
        "1583-01-01T00:00:00+01:00", "2021-02-29", "1900-02-29", "2021-04-31",
        "2021-11-00",
        "2021-11-23T22:51:56+16:00", "2021-11-23T22:51:56+01:60", "2021-11-23T22:51:56.", "infinity", "now",
        "2021-11-23T22:51:56.000000000000000000000Z",
    ])
    func `What is no point in time is none`(text: String) {
        #expect(Timestamp.parse(text) == nil)
    }

    @Test func `A filter's bound is cut down to the second`() {
        #expect(Timestamp.format(Date(timeIntervalSince1970: 1_637_707_916.9)) == "2021-11-23T22:51:56Z")
    }

    @Test func `The outcome of a bulk call is found by address`() throws {
        let result = try decode(
            BulkResult.self,
            """
            {"new_members":[{"id":"1","email_address":"New@example.org","status":"subscribed"}],"updated_members":[],
            "errors":[{"email_address":"There@example.org","error":"whatever","error_code":"ERROR_CONTACT_EXISTS"},
            {"email_address":"x","error":"Please provide a valid email address.","error_code":"ERROR_GENERIC"},
            {"email_address":"y","error":"Something new","error_code":"ERROR_GENERIC","field":"FNAME","field_message":""}],
            "total_created":1}
            """)
        guard case .created = result.outcomes["new@example.org"] else { Issue.record("not created"); return }
        #expect(result.errors.map(\.code) == [.memberExists, .invalidAddress, .other])
        #expect(result.errors.map(\.error.advice) == [.lookAgain, .park, .park])
        #expect(result.outcomes["there@example.org"] == .refused(result.errors[0]))
        #expect(result.outcomes["absent@example.org"] == nil)
        #expect(throws: (any Error).self) { try decode(BulkResult.self, "{}") }
        #expect(throws: (any Error).self) { try decode(BulkResult.self, #"{"new_members":[{}]}"#) }
    }

    @Test func `A webhook, a list, a field and an account are read from what little may be there`() throws {
        let webhook = try decode(
            Webhook.self, #"{"id":"w","url":"u","events":{"subscribe":"true","cleaned":1},"signing_secret":"s"}"#)
        #expect(
            webhook.events?.subscribe == true && webhook.events?.cleaned == true && webhook.events?.profile == false)
        #expect(webhook.signingSecret?.text == "s")
        let list = try decode(MailingList.self, #"{"id":"l","double_optin":"1","stats":{"member_count":"12"}}"#)
        #expect(list.doubleOptIn && list.memberCount == 12 && list.name.isEmpty)
        let field = try decode(MergeField.self, #"{"tag":"CHOICE","options":{"choices":["a"]},"required":true}"#)
        #expect(field.choices == ["a"] && field.isRequired && field.type == "text")
        #expect(try decode(Account.self, #"{"account_id":7,"login_id":12}"#).loginID == "12")
        #expect(throws: (any Error).self) { try decode(Account.self, #"{"account_name":"x"}"#) }
    }

    private func decode<T: Decodable>(_: T.Type, _ json: String) throws -> T {
        try JSONDecoder().decode(T.self, from: Data(json.utf8))
    }
}
