/// An error of the API, in the form of its problem document.
struct Problem: Error, Sendable {
    let status: Int
    let title: String
    let detail: String
    var errors: [(field: String, message: String)]?
    /// Some errors come without their type.
    var hasType = true
    var allow: String?

    init(_ status: Int, _ title: String, _ detail: String) {
        self.status = status
        self.title = title
        self.detail = detail
    }

    func json(instance: String) -> JSON {
        var object = JSONObject()
        if hasType { object.append("type", "https://mailchimp.com/developer/marketing/docs/errors/") }
        object.append("title", .string(title))
        object.append("status", .integer(status))
        object.append("detail", .string(detail))
        object.append("instance", .string(instance))
        if let errors {
            let list = errors.map { JSON.object(["field": .string($0.field), "message": .string($0.message)]) }
            object.append("errors", .array(list))
        }
        return .object(object)
    }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
    init(dictionaryLiteral elements: (String, JSON)...) {
        pairs = elements.map { Pair(key: $0, value: $1) }
    }
}

extension Problem {
    static let notFound = Problem(404, "Resource Not Found", "The requested resource could not be found.")
    static let keyMissing = Problem(401, "API Key Missing", "Your request did not include an API key.")
    static let keyInvalid = Problem(
        401, "API Key Invalid", "Your API key may be invalid, or you've attempted to access the wrong datacenter.")
    static let userDisabled = Problem(403, "User Disabled", "This account has been disabled.")
    static let forbidden = Problem(403, "Forbidden", "You don't have permission to access this resource.")
    static let complianceBlocked = Problem(503, "ComplianceRelated", "This method has been disabled.")
    /// Not documented: the words are a guess.
    static let contactLimit = Problem(
        400, "Bad Request", "Your account has reached its contact limit. Upgrade the plan or remove contacts.")
    static let methodOverride = Problem(
        422, "InvalidMethodOverride", "The X-HTTP-Method-Override header can only be used with POST requests.")
    static let bothFieldLists = Problem(
        422, "RequestedFieldsInvalid", "The fields and exclude_fields parameters cannot be used together.")

    static let nestingTooDeep = Problem(
        414, "Resource Nesting Too Deep", "The path of this request goes deeper than any resource.")

    static func unknownFields(_ names: [String]) -> Problem {
        Problem(
            422, "RequestedFieldsInvalid",
            "The fields parameter names what this resource does not have: \(names.joined(separator: ", ")).")
    }

    static func tooManyConnections(_ limit: Int) -> Problem {
        Problem(429, "TooManyRequests", "You have exceeded the limit of \(limit) simultaneous connections.")
    }

    static func invalid(_ errors: [(field: String, message: String)]) -> Problem {
        var problem = Problem(
            400, "Invalid Resource",
            "The resource submitted could not be validated. For field-specific details, see the 'errors' array.")
        problem.errors = errors
        return problem
    }

    static func missing(_ fields: [String]) -> Problem {
        .invalid([("", "Required fields were not provided: \(fields.joined(separator: ", "))")])
    }

    static func notAmong(_ field: String, _ accepted: [String]) -> Problem {
        .invalid([(field, "Data presented is not one of the accepted values: \(accepted.joined(separator: ", ")).")])
    }

    /// A refusal of the whole call that names no field.
    static func invalid(_ detail: String) -> Problem { Problem(400, "Invalid Resource", detail) }

    static func invalidMerge(_ errors: [(field: String, message: String)]) -> Problem {
        var problem = Problem(400, "Invalid Resource", "Your merge fields were invalid.")
        problem.errors = errors
        return problem
    }

    static func notAllowed(_ allowed: [String]) -> Problem {
        var problem = Problem(
            405, "Method Not Allowed",
            "The requested method and resource are not compatible. See the Allow header for this resource's available methods."
        )
        problem.allow = allowed.joined(separator: ", ")
        return problem
    }

    static var notArchivable: Problem {
        var problem = Problem(
            405, "Method Not Allowed",
            "This list member cannot be removed. Can not archive a contact that is bounced, pending or archived")
        problem.allow = "GET, PUT"
        return problem
    }

    static func memberExists(_ address: String, hasType: Bool) -> Problem {
        var problem = Problem(
            400, "Member Exists", "\(address) is already a list member. Use PUT to insert or update list members.")
        problem.hasType = hasType
        return problem
    }

    static func refused(_ refusal: StatusRefusal, _ address: String, hasType: Bool) -> Problem {
        var problem =
            switch refusal {
            case .complianceState:
                Problem(
                    400, "Member In Compliance State",
                    "\(address) is in a compliance state due to unsubscribe, bounce, or compliance review and cannot be subscribed."
                )
            case .forgotten:
                Problem(
                    400, "Forgotten Email Not Subscribed",
                    "\(address) was permanently deleted and cannot be re-imported. The contact must re-subscribe to get back on the list."
                )
            }
        problem.hasType = hasType
        return problem
    }

    static func signedUpTooOften(_ address: String) -> Problem {
        .invalid("\(address) has signed up to a lot of lists very recently; we're not allowing more signups for now")
    }

    /// The errors that a caller can ask for by title with `X-Trigger-Error`.
    static func triggered(_ title: String) -> Problem {
        let known = [
            "BadRequest": 400, "InvalidAction": 400, "InvalidResource": 400, "JSONParseError": 400,
            "MemberExists": 400, "MemberInComplianceState": 400, "ForgottenEmailNotSubscribed": 400,
            "MergeMaxLimitExceeded": 400, "APIKeyMissing": 401, "APIKeyInvalid": 401, "Forbidden": 403,
            "UserDisabled": 403, "WrongDatacenter": 403,
            "ResourceNotFound": 404,
            "MethodNotAllowed": 405, "ResourceNestingTooDeep": 414, "InvalidMethodOverride": 422,
            "RequestedFieldsInvalid": 422, "TooManyRequests": 429, "InternalServerError": 500, "ComplianceRelated": 503,
        ]
        let key = title.filter { !$0.isWhitespace }.lowercased()
        let match = known.first { $0.key.lowercased() == key }
        var problem = Problem(
            match?.value ?? 400, match?.key ?? title, "This error was asked for with X-Trigger-Error.")
        if problem.status == 405 { problem.allow = "GET" }
        return problem
    }
}
