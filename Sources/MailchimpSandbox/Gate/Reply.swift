import FoundationEssentials
import HTTPTypes
import Hummingbird

extension HTTPField.Name {
    // These are constant texts that are valid names, so the initialiser cannot fail.
    static let triggerError = name("X-Trigger-Error")
    static let methodOverride = name("X-HTTP-Method-Override")
    static let requestID = name("X-Request-Id")
    static let linkHeader = name("Link")

    private static func name(_ text: String) -> HTTPField.Name {
        guard let name = HTTPField.Name(text) else { preconditionFailure("\(text) is no name of a header") }
        return name
    }
}

/// An answer as the real API dresses it, whole in memory so that a fault can still change it.
struct Reply: Sendable {
    var status: Int
    var fields: HTTPFields
    var body = ByteBuffer()

    var response: Response {
        Response(status: .init(code: status), headers: fields, body: ResponseBody(byteBuffer: body))
    }

    static func newRequestID() -> String { UUID().uuidString.lowercased() }

    static func answer(_ answer: Answer, _ call: Call, _ selection: FieldSelection, _ links: Links?) -> Reply {
        var fields = standard(call, type: "application/json; charset=utf-8")
        if let links, let schema = answer.schema {
            var link = "<\(links.schemas)/\(schema).json>; rel=\"describedBy\""
            if let dashboard = answer.dashboard { link += ", <\(dashboard)>; rel=\"dashboard\"" }
            fields[.linkHeader] = link
        }
        guard let body = answer.body else {
            fields[.contentType] = "application/json"
            return Reply(status: answer.status, fields: fields)
        }
        return Reply(status: answer.status, fields: fields, body: ByteBuffer(bytes: selection.apply(to: body).bytes))
    }

    static func problem(_ problem: Problem, _ call: Call, links: Links?) -> Reply {
        var fields = standard(call, type: "application/problem+json; charset=utf-8")
        if let links {
            fields[.linkHeader] = "<\(links.schemas)/Definitions/ProblemDetailDocument.json>; rel=\"describedBy\""
        }
        if let allow = problem.allow { fields[.allow] = allow }
        let body = problem.json(instance: call.requestID).bytes
        return Reply(status: problem.status, fields: fields, body: ByteBuffer(bytes: body))
    }

    static func json(_ value: JSON) -> Reply {
        Reply(
            status: 200, fields: [.contentType: "application/json; charset=utf-8"], body: ByteBuffer(bytes: value.bytes)
        )
    }

    static func text(_ status: Int, _ type: String, _ body: String) -> Reply {
        Reply(status: status, fields: [.contentType: type], body: ByteBuffer(string: body))
    }

    private static func standard(_ call: Call, type: String) -> HTTPFields {
        [.contentType: type, .vary: "Accept-Encoding", .requestID: call.requestID]
    }
}
