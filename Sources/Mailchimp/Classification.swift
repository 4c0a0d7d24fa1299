import HTTPClient

/// Turns a response that is not a success into an error with a code.
///
/// The status alone says little: nearly every refusal of one contact is a 400. So the title is read first, then what the
/// detail and the refused fields say, and the status only when none of that is known.
enum Classification {
    /// The error for a response with an error status.
    static func error(for response: HTTPResponse) -> MailchimpError {
        let requestID = response.header("X-Request-Id")
        guard let problem = Problem(response.body) else {
            let code = codeWithoutProblem(response.status)
            let kind = response.header("Content-Type") ?? "no content type"
            return MailchimpError(
                code, status: response.status,
                detail: "The response has no problem document (\(kind), \(response.body.count) bytes).",
                requestID: requestID, mayHaveBeenProcessed: mayHaveBeenProcessed(code, response.status))
        }
        let code = code(response.status, problem)
        return MailchimpError(
            code, status: response.status, title: problem.title, detail: problem.detail, fields: problem.fields,
            requestID: problem.instance.isEmpty ? requestID : problem.instance,
            mayHaveBeenProcessed: mayHaveBeenProcessed(code, response.status))
    }

    /// The code for one address that a bulk call refused.
    ///
    /// The wording of these is not documented, so a sentence that is not known means no more than "not this one".
    static func code(bulkCode: String, texts: [String]) -> MailchimpError.Code {
        if bulkCode == "ERROR_CONTACT_EXISTS" { return .memberExists }
        return code(texts: texts) ?? .other
    }

    private static func code(_ status: Int, _ problem: Problem) -> MailchimpError.Code {
        if problem.isOfTheNetwork { return codeWithoutProblem(status) }
        let title = problem.title.lowercased().filter { $0.isLetter || $0.isNumber }
        // A blocked account and a network that is too busy share the status 503; only the title tells them apart.
        if let code = titles[title] { return code }
        if status >= 500 { return .overloaded }
        if let code = code(texts: [problem.detail] + problem.fields.map(\.message)) { return code }
        let fields = problem.fields.map { $0.field.lowercased().filter(\.isLetter) }
        if fields.contains("emailaddress") { return .invalidAddress }
        return switch status {
        case 300..<400: .redirected
        case 401: .invalidKey
        case 403: .forbidden
        // A 404 in other words than Mailchimp's is no statement about a member.
        case 404, 408: .overloaded
        case 405: .methodNotAllowed
        case 426: .insecure
        case 429: .tooManyRequests
        case 413, 414, 415, 422: .schema
        default: .other
        }
    }

    private static func codeWithoutProblem(_ status: Int) -> MailchimpError.Code {
        switch status {
        case 300..<400: .redirected
        case 401: .invalidKey
        case 426: .insecure
        case 429: .tooManyRequests
        // Seen from the network in front of Mailchimp when too much is asked of it. A 404 without a document is no
        // statement about a member, and must never be taken for "absent".
        case 403, 404, 408, 500...: .overloaded
        default: .malformedResponse
        }
    }

    /// A server that fails or gives up waiting may finish the work all the same; a refusal has done nothing.
    private static func mayHaveBeenProcessed(_ code: MailchimpError.Code, _ status: Int) -> Bool {
        code == .overloaded && (status >= 500 || status == 408)
    }

    private static func code(texts: [String]) -> MailchimpError.Code? {
        let texts = texts.map { $0.lowercased() }
        return phrases.first { phrase in texts.contains { $0.contains(phrase.text) } }?.code
    }

    /// Titles in lower case, letters and digits only: both `API Key Invalid` and `APIKeyInvalid` are seen.
    private static let titles: [String: MailchimpError.Code] = [
        "apikeyinvalid": .invalidKey,
        "apikeymissing": .invalidKey,
        "userdisabled": .userDisabled,
        "wrongdatacenter": .wrongDataCentre,
        "compliancerelated": .accountBlocked,
        "accountdisabled": .accountBlocked,
        "accountdeactivated": .accountBlocked,
        "memberexists": .memberExists,
        "memberincompliancestate": .complianceState,
        "forgottenemailnotsubscribed": .forgotten,
        "resourcenotfound": .notFound,
        "methodnotallowed": .methodNotAllowed,
        "mergemaxlimitexceeded": .mergeFieldLimit,
        "toomanyrequests": .tooManyRequests,
        "invalidmethodoverride": .schema,
        "requestedfieldsinvalid": .schema,
        "resourcenestingtoodeep": .schema,
        "jsonparseerror": .schema,
    ]

    /// Parts of sentences in lower case; the first that occurs decides, so what binds us more comes first.
    private static let phrases: [(text: String, code: MailchimpError.Code)] = [
        ("permanently deleted", .forgotten),
        ("was previously removed from this audience", .forgotten),
        ("in compliance state", .complianceState),
        ("in a compliance state", .complianceState),
        ("has previously unsubscribed", .complianceState),
        ("must opt in again", .complianceState),
        ("you can only update email addresses for members with a status", .addressFixed),
        ("is already in this list with a status of", .addressTaken),
        ("is already a list member", .memberExists),
        ("signed up to a lot of lists", .signedUpTooOften),
        ("looks fake or invalid", .fakeAddress),
        ("provide a valid email address", .invalidAddress),
        ("portion of the email address is invalid", .invalidAddress),
        ("schema describes", .schema),
        ("maximum allowed member items exceeded", .schema),
        ("merge fields were invalid", .invalidMergeFields),
        ("contact limit", .contactLimit),
        ("simultaneous connections", .tooManyRequests),
        ("account has been disabled", .userDisabled),
        ("wrong datacenter", .invalidKey),
        ("requested resource could not be found", .notFound),
        ("set up multiple webhooks for one url", .alreadyThere),
        ("already exists", .alreadyThere),
    ]
}
