import Crypto
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// A small HTML page that loads nothing, is framed by nobody, is not kept, and does not tell where the reader came from.
struct Page: Sendable {
    var title: String
    var language: PageLanguage
    /// Whether it says that this is no real work: every page of a deployment for training does.
    var isTraining: Bool
    /// HTML; every value in it went through ``escaped(_:)``.
    var body: String
    var status = HTTPResponse.Status.ok
    /// Where a form of the page may lead to, beside this server: browsers hold redirections to it as well.
    var formTarget: String?

    private static let style = """
        body{font:1.05rem/1.5 system-ui,sans-serif;max-width:34rem;margin:12vh auto;padding:0 1.5rem;color:#222}
        h1{font-size:1.5rem}button{font:inherit;padding:.6rem 1.2rem;border:0;border-radius:.3rem;background:#1d5d90;color:#fff}
        aside{background:#ffd84d;border-left:.5rem solid #222;padding:.6rem 1rem;margin-bottom:2rem}
        code{background:#eee;padding:.1rem .3rem;border-radius:.2rem;overflow-wrap:anywhere}
        """

    /// The policy allows the style by its hash and nothing else.
    private static let styleSource =
        "'sha256-\(Data(SHA256.hash(data: Array(style.utf8))).base64EncodedString())'"

    /// What stands above everything else in training.
    private var banner: String {
        let text =
            language == .dutch
            ? "dit is de oefenomgeving. Gebruik alleen testlijsten en testpersonen."
            : "this is the training environment. Use test lists and test persons only."
        return "<aside aria-label=\"Training\"><strong>Training:</strong> \(text)</aside>\n"
    }

    var response: Response {
        let mark = isTraining ? "Training: " : ""
        let html = """
            <!doctype html>
            <html lang="\(language.rawValue)"><head><meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1"><title>\(mark)\(Self.escaped(title))</title>
            <style>\(Self.style)</style></head>
            <body>\(isTraining ? banner : "")<h1>\(Self.escaped(title))</h1>
            \(body)
            </body></html>

            """
        var headers = Self.headers
        headers[.contentType] = "text/html; charset=utf-8"
        headers[.contentLanguage] = language.rawValue
        headers[.vary] = "Accept-Language"
        let forms = (["'self'"] + (formTarget.map { [$0] } ?? [])).joined(separator: " ")
        headers[.contentSecurityPolicy] =
            "default-src 'none'; style-src \(Self.styleSource); form-action \(forms); base-uri 'none'; "
            + "frame-ancestors 'none'"
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: html)))
    }

    /// What every answer has that a person's browser gets.
    static let headers: HTTPFields = {
        var headers: HTTPFields = [.cacheControl: "no-store", .xContentTypeOptions: "nosniff"]
        for (name, value) in [("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY")] {
            if let name = HTTPField.Name(name) { headers[name] = value }
        }
        return headers
    }()

    /// Sends the browser to another address, with GET.
    static func redirect(to location: String) -> Response {
        var headers = Self.headers
        headers[.location] = location
        return Response(status: .seeOther, headers: headers)
    }

    static func escaped(_ text: String) -> String {
        var escaped = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": escaped += "&amp;"
            case "<": escaped += "&lt;"
            case ">": escaped += "&gt;"
            case "\"": escaped += "&quot;"
            case "'": escaped += "&#39;"
            default: escaped.unicodeScalars.append(character)
            }
        }
        return escaped
    }
}
