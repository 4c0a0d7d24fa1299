import HTTPTypes
import NIOCore

extension Reply {
    /// What the API, or the edge before it, says in place of an answer.
    static func canned(_ effect: FaultEffect) -> Reply {
        let html = "text/html"
        let json = "application/problem+json; charset=utf-8"
        switch effect {
        case .tooMany:
            let problem = Problem.tooManyConnections(10).json(instance: Reply.newRequestID())
            return text(429, json, String(decoding: problem.bytes, as: UTF8.self))
        case .tooManyEmpty: return Reply(status: 429, fields: [:])
        case .notFoundEmpty: return Reply(status: 404, fields: [:])
        case .forbiddenHTML:
            let page =
                "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1>Reference #18.4f2e3b17</BODY></HTML>"
            return text(403, html, page)
        case .serverError:
            return text(
                500, json,
                #"{"type":"about:blank","title":"Internal Server Error","status":500,"#
                    + #""detail":"A deep, internal error has occurred during the processing of your request. Please contact support.","#
                    + #""instance":"\#(Reply.newRequestID())"}"#)
        case .badGatewayHTML: return text(502, html, "<html><body><h1>502 Bad Gateway</h1></body></html>")
        case .gatewayTimeoutHTML:
            return text(504, html, "<html><body><h1>504 Gateway Time-out</h1></body></html>")
        case .unavailable: return Reply(status: 503, fields: [:])
        case .unavailableAkamai:
            return text(
                503, "application/json",
                #"{"type":"akamai_error_message","title":"akamai_503","status":503,"ref_no":"Reference Number: 00.950e16c3"}"#
            )
        case .contactLimit:
            let problem = Problem.contactLimit.json(instance: Reply.newRequestID())
            return text(400, json, String(decoding: problem.bytes, as: UTF8.self))
        default:
            let problem = Problem.complianceBlocked.json(instance: Reply.newRequestID())
            return text(503, json, String(decoding: problem.bytes, as: UTF8.self))
        }
    }
}
