import HTTPClient
import Testing

@testable import Mailchimp

/// The errors of Mailchimp's glossary as the stand-in gives them when it is asked for one.
@Suite struct TriggeredErrorTests {
    @Test func `Every error of the glossary is known, and says what to do`() async throws {
        let expected: [(String, MailchimpError.Code, Advice)] = [
            ("BadRequest", .other, .park), ("InvalidAction", .other, .park), ("InvalidResource", .other, .park),
            ("JSONParseError", .schema, .alarm), ("APIKeyMissing", .invalidKey, .waitForAccount),
            ("APIKeyInvalid", .invalidKey, .waitForAccount), ("Forbidden", .forbidden, .waitForAccount),
            ("UserDisabled", .userDisabled, .waitForAccount), ("WrongDatacenter", .wrongDataCentre, .waitForAccount),
            ("ResourceNotFound", .notFound, .lookAgain), ("MethodNotAllowed", .methodNotAllowed, .lookAgain),
            ("ResourceNestingTooDeep", .schema, .alarm), ("InvalidMethodOverride", .schema, .alarm),
            ("RequestedFieldsInvalid", .schema, .alarm), ("TooManyRequests", .tooManyRequests, .retry),
            ("InternalServerError", .overloaded, .retry), ("ComplianceRelated", .accountBlocked, .stop),
        ]
        try await Sandbox.run { sandbox in
            for (title, code, advice) in expected {
                var request = sandbox.client.request(.get("ping"))
                request.headers.append(("X-Trigger-Error", title))
                let error = Classification.error(for: try await sandbox.http.send(request))
                #expect(error.code == code, "\(title)")
                #expect(error.advice == advice, "\(title)")
                #expect(error.requestID?.isEmpty == false, "\(title)")
            }
        }
    }
}
