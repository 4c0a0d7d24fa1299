import Hummingbird
import Postgres

/// An answer that says what is wrong with a request, as `application/problem+json` (RFC 9457).
struct Problem: HTTPResponseError {
    var status: HTTPResponse.Status
    /// What is wrong, for a person to read.
    var detail: String
    /// Which part of the request is meant, such as `[2].run_at`.
    var field: String?
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ detail: String, field: String? = nil) {
        self.status = status
        self.detail = detail
        self.field = field
    }

    func response(from request: Request, context: some RequestContext) throws -> Response {
        let body = Body(title: status.reasonPhrase, status: status.code, detail: detail, field: field)
        var response = Response(
            status: status, headers: headers,
            body: ResponseBody(byteBuffer: ByteBuffer(string: try JSONText(encoding: body).text)))
        response.headers[.contentType] = "application/problem+json"
        return response
    }

    private struct Body: Encodable {
        var type = "about:blank"
        var title: String
        var status: Int
        var detail: String
        var field: String?
    }
}

extension Problem {
    /// The answer to a request that the database refused, or nil when the fault is not the caller's.
    ///
    /// The functions for other systems begin their message with the field that is to blame, as in
    /// `jobs[2].priority: must be from -10000 to 10000`.
    init?(refusal error: PostgresError) {
        // Data that does not fit, a constraint that does not hold, something that is too big or not allowed, a function
        // that raised.
        let classes: Set<Substring> = ["22", "23", "42", "54", "P0"]
        guard error.code == .server, let state = error.sqlState, classes.contains(state.prefix(2)) else { return nil }
        // Statements of ours that are wrong are of class 42 too; only this one is about the caller.
        if state.hasPrefix("42") && state != "42501" { return nil }
        let parts = error.message.split(separator: ": ", maxSplits: 1)
        let isField = { (character: Character) in character.isLetter || character.isNumber || "_.[]".contains(character)
        }
        guard parts.count == 2, parts[0].allSatisfy(isField) else {
            self.init(.unprocessableContent, error.message)
            return
        }
        self.init(.unprocessableContent, String(parts[1]), field: String(parts[0]))
        if let hint = error.hint { detail += ". " + hint }
    }

    /// The answer to a body that the database refused, also because it is no JSON.
    init?(bodyRefusal error: PostgresError) {
        // Not JSON at all, or JSON with a character that PostgreSQL does not keep.
        if error.sqlState == "22P02" || error.sqlState == "22P05" {
            self.init(.badRequest, "The body is not JSON that can be stored: \(error.message).", field: "body")
        } else {
            self.init(refusal: error)
        }
    }

    /// The answer to a request that the functions of persons, companies and groups refused.
    ///
    /// They tell the field apart from the message, which in a list begins with the place, as in `person 2: ...`.
    init?(domainRefusal error: PostgresError) {
        let status: HTTPResponse.Status
        switch error.sqlState {
        case "22023": status = .unprocessableContent
        case "P0002": status = .notFound
        case "23001", "KS001", "40001": status = .conflict
        default:
            self.init(bodyRefusal: error)
            return
        }
        self.init(status, error.advised)
        guard let column = error.column, !column.isEmpty else { return }
        let words = error.message.prefix { $0 != ":" }.split(separator: " ")
        let place = words.count == 2 ? Int(words[1]) : nil
        field = (place.map { "[\($0 - 1)]." } ?? "") + column
    }

    /// The answer while the database cannot be asked.
    static var databaseAway: Problem {
        var problem = Problem(.serviceUnavailable, "The database cannot be reached; try again.")
        problem.headers[.retryAfter] = "5"
        return problem
    }
}
