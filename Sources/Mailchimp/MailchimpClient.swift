public import HTTPClient
import FoundationEssentials

/// The calls of Mailchimp's Marketing API that the project needs.
///
/// Every method makes exactly one HTTP call and repeats none: whether and when to try again is decided by whoever knows
/// what the call was for, from the error's ``MailchimpError/advice`` and ``MailchimpError/mayHaveBeenProcessed``.
public struct MailchimpClient: Sendable {
    let root: String
    private let credential: Credential
    private let http: HTTPClient

    /// Makes a client of one account.
    ///
    /// - Parameters:
    ///   - credential: What opens the account.
    ///   - http: The transport; its limit of connections should not exceed the account's.
    ///   - rootOverride: An address in the place of Mailchimp's own, such as `http://127.0.0.1:8080`: a stand-in.
    /// - Throws: An error with the code `wrongDataCentre` when the credential names something else than a data centre.
    public init(credential: Credential, http: HTTPClient, rootOverride: String? = nil) throws(MailchimpError) {
        guard let dataCentre = APIKey.dataCentre(credential.dataCentre) else {
            throw MailchimpError(
                .wrongDataCentre,
                detail: "The credential does not name a data centre such as us12. Connect the account again.")
        }
        self.credential = credential
        self.http = http
        if let rootOverride {
            let trimmed = String(rootOverride.reversed().drop { $0 == "/" }.reversed())
            root = trimmed.hasSuffix("/3.0") ? trimmed : trimmed + "/3.0"
        } else {
            root = "https://\(dataCentre).api.mailchimp.com/3.0"
        }
    }

    /// Makes a call and returns the body of a successful response.
    func body(_ call: Call) async throws(MailchimpError) -> [UInt8] {
        let response: HTTPResponse
        do {
            response = try await http.send(request(call))
        } catch {
            throw MailchimpError(error)
        }
        guard (200..<300).contains(response.status) else { throw Classification.error(for: response) }
        return response.body
    }

    /// Makes a call and reads the successful response.
    func decoded<T: Decodable>(_ call: Call, as _: T.Type = T.self) async throws(MailchimpError) -> T {
        let body = try await body(call)
        do {
            return try JSONDecoder().decode(T.self, from: Data(body))
        } catch {
            throw MailchimpError.malformed("\(T.self)", body, sideEffects: call.method != "GET")
        }
    }

    /// Makes a call that answers with nothing: 204, or an empty body, or an object that is not looked at.
    ///
    /// A page of HTML with the status of a success is no answer of Mailchimp's, so nothing may have been done.
    func perform(_ call: Call) async throws(MailchimpError) {
        let body = try await body(call)
        guard body.isEmpty || RawPage.looksLikeAnObject(body) else {
            throw MailchimpError.malformed("empty answer", body, sideEffects: true)
        }
    }

    func request(_ call: Call) -> HTTPRequest {
        var headers = [
            (name: "Authorization", value: credential.authorization), (name: "Accept", value: "application/json"),
        ]
        if call.body != nil { headers.append((name: "Content-Type", value: "application/json")) }
        return HTTPRequest(
            method: call.method, url: root + call.target, headers: headers, body: call.body,
            maximumBody: call.maximumBody)
    }
}

extension MailchimpError {
    /// A successful response that is not what it should be; what was asked for has probably been done.
    static func malformed(_ expected: String, _ body: [UInt8], sideEffects: Bool) -> MailchimpError {
        MailchimpError(
            .malformedResponse, status: 200,
            detail: "The response is no \(expected): \(body.count) bytes that are cut off or of another shape.",
            mayHaveBeenProcessed: sideEffects)
    }
}
