import HTTPClient
import Testing

@testable import Mailchimp

/// One response as Mailchimp really sends it, and what must be made of it.
struct Refusal: CustomTestStringConvertible, Sendable {
    var status: Int
    var title = "Invalid Resource"
    var detail = ""
    var field: (name: String, message: String)?
    var code: MailchimpError.Code
    var advice: Advice

    var testDescription: String { "\(status) \(title): \(detail)\(field?.message ?? "")" }

    var response: HTTPResponse {
        let quoted = { (text: String) in text.replacing("\"", with: "\\\"") }
        var body = #"{"title":"\#(title)","status":\#(status),"detail":"\#(quoted(detail))","instance":"""#
        if let field { body += #","errors":[{"field":"\#(field.name)","message":"\#(quoted(field.message))"}]"# }
        return HTTPResponse(status: status, headers: [("X-Request-Id", "r1")], body: Array((body + "}").utf8))
    }
}

@Suite struct ClassificationTests {
    @Test(arguments: [
        Refusal(
            status: 401, title: "API Key Invalid",
            detail: "Your API key may be invalid, or you've attempted to access the wrong datacenter.",
            code: .invalidKey,
            advice: .waitForAccount),
        Refusal(status: 401, title: "API Key Missing", code: .invalidKey, advice: .waitForAccount),
        Refusal(status: 401, title: "APIKeyMissing", code: .invalidKey, advice: .waitForAccount),
        Refusal(status: 401, title: "Something New", code: .invalidKey, advice: .waitForAccount),
        Refusal(status: 403, title: "Forbidden", detail: "No.", code: .forbidden, advice: .waitForAccount),
        Refusal(
            status: 403, title: "User Disabled", detail: "This account has been disabled.", code: .userDisabled,
            advice: .waitForAccount),
        Refusal(status: 403, title: "WrongDatacenter", code: .wrongDataCentre, advice: .waitForAccount),
        Refusal(
            status: 429, title: "TooManyRequests",
            detail: "You have exceeded the limit of 10 simultaneous connections.", code: .tooManyRequests,
            advice: .retry),
        Refusal(status: 429, title: "Too Many Requests", code: .tooManyRequests, advice: .retry),
        Refusal(
            status: 500, title: "Internal Server Error",
            detail:
                "A deep, internal error has occurred during the processing of your request. Please contact support.",
            code: .overloaded, advice: .retry),
        Refusal(status: 503, title: "akamai_503", code: .overloaded, advice: .retry),
        Refusal(
            status: 503, title: "ComplianceRelated", detail: "This method has been disabled.", code: .accountBlocked,
            advice: .stop),
        Refusal(
            status: 404, title: "Resource Not Found", detail: "The requested resource could not be found.",
            code: .notFound, advice: .lookAgain),
        Refusal(
            status: 405, title: "Method Not Allowed",
            detail:
                "This list member cannot be removed. Can not archive a contact that is bounced, pending or archived",
            code: .methodNotAllowed, advice: .lookAgain),
        Refusal(status: 422, title: "RequestedFieldsInvalid", code: .schema, advice: .alarm),
        Refusal(status: 422, title: "InvalidMethodOverride", code: .schema, advice: .alarm),
        Refusal(
            status: 404, title: "Something Else", detail: "Nobody here by that name.", code: .overloaded, advice: .retry
        ),
        Refusal(status: 301, title: "Moved", code: .redirected, advice: .retry),
        Refusal(status: 426, title: "Upgrade Required", code: .insecure, advice: .stop),
        Refusal(status: 408, title: "Request Timeout", code: .overloaded, advice: .retry),
        Refusal(status: 413, title: "Too Large", code: .schema, advice: .alarm),
        Refusal(status: 500, title: "Something New", code: .overloaded, advice: .retry),
        Refusal(status: 400, title: "JSON Parse Error", code: .schema, advice: .alarm),
        Refusal(status: 400, title: "Merge Max Limit Exceeded", code: .mergeFieldLimit, advice: .park),
        Refusal(
            status: 400, detail: "A Merge Field with the tag \"TEL\" already exists for this list.",
            code: .alreadyThere, advice: .lookAgain),
        Refusal(
            status: 400,
            field: ("url", "Sorry, you can't set up multiple WebHooks for one URL on the same list."),
            code: .alreadyThere, advice: .lookAgain),
        Refusal(
            status: 400,
            detail:
                "Maximum allowed member items exceeded, please provide at most 500 items in members_to_add field or members_to_remove field",
            code: .schema, advice: .alarm),
        Refusal(status: 400, field: ("email address", "Something new."), code: .invalidAddress, advice: .park),
        Refusal(status: 414, title: "Resource Nesting Too Deep", code: .schema, advice: .alarm),
        Refusal(status: 400, title: "Something New", detail: "Something new.", code: .other, advice: .park),
    ])
    func `A problem with the call or the account is told by its title and status`(refusal: Refusal) {
        check(refusal)
    }

    @Test(arguments: [
        Refusal(
            status: 400, title: "Member Exists",
            detail: "a@example.org is already a list member. Use PUT to insert or update list members.",
            code: .memberExists, advice: .lookAgain),
        Refusal(
            status: 400, title: "Member In Compliance State",
            detail:
                "a@example.org is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed.",
            code: .complianceState, advice: .suppress(.complianceState)),
        Refusal(
            status: 400, title: "Forgotten Email Not Subscribed",
            detail:
                "a@example.org was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list.",
            code: .forgotten, advice: .suppress(.forgotten)),
        Refusal(
            status: 400, detail: "Please provide a valid email address.", code: .invalidAddress, advice: .park),
        Refusal(
            status: 400,
            detail: "The username portion of the email address is invalid (the portion before the @: a..b)",
            code: .invalidAddress, advice: .park),
        Refusal(
            status: 400, detail: "foo@example.com looks fake or invalid, please enter a real email address.",
            code: .fakeAddress, advice: .park),
        Refusal(
            status: 400,
            detail:
                "a@example.org has signed up to a lot of lists very recently; we're not allowing more signups for now",
            code: .signedUpTooOften, advice: .deferDays),
        Refusal(
            status: 400, detail: "Your merge fields were invalid.", field: ("LTV", "Please enter a number"),
            code: .invalidMergeFields, advice: .park),
        Refusal(
            status: 400,
            detail:
                "The resource submitted could not be validated. For field-specific details, see the 'errors' array.",
            field: ("merge_fields", "Schema describes string, integer found instead"), code: .schema, advice: .alarm),
        Refusal(
            status: 400,
            detail:
                "The resource submitted could not be validated. For field-specific details, see the 'errors' array.",
            field: (
                "email address",
                #"This member's status is "cleaned." You can only update email addresses for members with a status of "subscribed.""#
            ), code: .addressFixed, advice: .lookAgain),
        Refusal(
            status: 400,
            detail:
                "The resource submitted could not be validated. For field-specific details, see the 'errors' array.",
            field: ("email address", #""john@example.com" is already in this list with a status of "Subscribed"."#),
            code: .addressTaken, advice: .lookAgain),
        Refusal(
            status: 400, title: "Bad Request",
            detail: "a@example.org has previously unsubscribed from this list and must opt in again.",
            code: .complianceState, advice: .suppress(.complianceState)),
        Refusal(
            status: 400, title: "Bad Request",
            detail:
                "a@example.org was previously removed from this audience. To rejoin, they'll need to sign up using a Mailchimp form.",
            code: .forgotten, advice: .suppress(.forgotten)),
        Refusal(
            status: 400, title: "Bad Request",
            detail:
                "a@example.org is already a list member in compliance state due to unsubscribe, bounce, or compliance review.",
            code: .complianceState, advice: .suppress(.complianceState)),
    ])
    func `A refusal of one contact is told by its title, and else by its words`(refusal: Refusal) {
        check(refusal)
    }

    @Test(
        arguments: [
            (401, .invalidKey, .waitForAccount), (403, .overloaded, .retry), (404, .overloaded, .retry),
            (429, .tooManyRequests, .retry), (500, .overloaded, .retry), (502, .overloaded, .retry),
            (503, .overloaded, .retry), (504, .overloaded, .retry), (400, .malformedResponse, .retry),
            (405, .malformedResponse, .retry), (301, .redirected, .retry), (302, .redirected, .retry),
            (408, .overloaded, .retry), (422, .malformedResponse, .retry), (426, .insecure, .stop),
        ] as [(Int, MailchimpError.Code, Advice)])
    func `A response without a problem document is told by its status, and a 404 of that kind is no absence`(
        status: Int, code: MailchimpError.Code, advice: Advice
    ) {
        let bodies = [
            "", "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD>Reference #18.2</HTML>", #"{"title":"Resource Not Fou"#,
            "[]", "null", "{}", "\"text\"", "{\"title\":",
        ]
        for body in bodies {
            let error = Classification.error(for: HTTPResponse(status: status, body: Array(body.utf8)))
            #expect(error.code == code, "\(body)")
            #expect(error.advice == advice, "\(body)")
        }
    }

    @Test func `Only a server that gave up may have done the work`() {
        for status in [408, 500, 502, 503, 504] {
            #expect(Classification.error(for: HTTPResponse(status: status)).mayHaveBeenProcessed)
        }
        for status in [400, 401, 403, 404, 405, 422, 429] {
            #expect(!Classification.error(for: HTTPResponse(status: status)).mayHaveBeenProcessed)
        }
        let blocked = #"{"title":"ComplianceRelated","status":503,"detail":"This method has been disabled."}"#
        #expect(!Classification.error(for: HTTPResponse(status: 503, body: Array(blocked.utf8))).mayHaveBeenProcessed)
    }

    @Test func `Fewer calls follow a 429, a 403 or 404 of the network in front, and a time-out`() {
        #expect(Classification.error(for: HTTPResponse(status: 429)).isThrottling)
        #expect(Classification.error(for: HTTPResponse(status: 403)).isThrottling)
        #expect(Classification.error(for: HTTPResponse(status: 404)).isThrottling)
        #expect(MailchimpError(HTTPError(.timeout, "")).isThrottling)
        #expect(!MailchimpError(HTTPError(.connect, "")).isThrottling)
        #expect(!Classification.error(for: HTTPResponse(status: 500)).isThrottling)
    }

    @Test func `A merge field that is only missing is told from one that is wrong`() {
        let missing = Refusal(
            status: 400, detail: "Your merge fields were invalid.", field: ("FNAME", "Please enter a value"),
            code: .invalidMergeFields, advice: .park)
        #expect(Classification.error(for: missing.response).onlyRequiredFieldsAreMissing)
        let wrong = Refusal(
            status: 400, detail: "Your merge fields were invalid.", field: ("LTV", "Please enter a number"),
            code: .invalidMergeFields, advice: .park)
        #expect(!Classification.error(for: wrong.response).onlyRequiredFieldsAreMissing)
        #expect(
            Classification.error(for: wrong.response).fields == [.init(field: "LTV", message: "Please enter a number")])
    }

    @Test func `What is printed of an error names no address`() {
        let error = MailchimpError(
            .memberExists, status: 400, title: "Member Exists", detail: "ann@example.org is already a list member.",
            fields: [.init(field: "email address", message: "\"bob@example.com\" is taken.")], requestID: "r1")
        let text = "\(error)"
        #expect(!text.contains("ann") && !text.contains("bob"))
        #expect(
            text == "memberExists, status 400, Member Exists, (address) is already a list member., "
                + "email address: (address) is taken., request r1")
    }

    @Test func `Every code has an advice, and the transport's errors have one of their own`() {
        for code in MailchimpError.Code.allCases { _ = MailchimpError(code, detail: "").advice }
        #expect(MailchimpError(HTTPError(.connect, "")).advice == .retry)
        #expect(MailchimpError(HTTPError(.other, "")).advice == .retry)
        #expect(MailchimpError(HTTPError(.badURL, "")).advice == .alarm)
        #expect(MailchimpError(HTTPError(.cancelled, "")).isCancellation)
        #expect(MailchimpError(HTTPError(.reset, "", requestMayHaveBeenProcessed: true)).mayHaveBeenProcessed)
    }

    private func check(_ refusal: Refusal) {
        let error = Classification.error(for: refusal.response)
        #expect(error.code == refusal.code)
        #expect(error.advice == refusal.advice)
        #expect(error.status == refusal.status)
        #expect(error.requestID == "r1")
    }
}
