import Foundation
import HTTPClient
import TestSupport
import Testing

/// A browser as far as this needs one: cookies with their paths, forms, and no step that it is not told to take.
final class Browser {
    /// A cookie as it was set.
    struct Cookie {
        var name: String
        var value: String
        var path: String
        var attributes: [String]
    }

    private(set) var cookies: [Cookie] = []
    private let http: HTTPClient
    private let language: String?
    /// Where an address really leads to, past a proxy.
    private let resolve: (String) -> String

    init(_ http: HTTPClient, language: String? = nil, resolve: @escaping (String) -> String = { $0 }) {
        self.http = http
        self.language = language
        self.resolve = resolve
    }

    func get(_ url: String) async throws -> HTTPResponse { try await send("GET", url) }

    /// Submits a form.
    func post(_ url: String, _ fields: [(String, String)] = []) async throws -> HTTPResponse {
        let body = fields.map { "\(encoded($0.0))=\(encoded($0.1))" }.joined(separator: "&")
        return try await send("POST", url, body: Array(body.utf8))
    }

    private func send(_ method: String, _ url: String, body: [UInt8]? = nil) async throws -> HTTPResponse {
        var headers: [(name: String, value: String)] = []
        if body != nil { headers.append(("Content-Type", "application/x-www-form-urlencoded")) }
        if let language { headers.append(("Accept-Language", language)) }
        let path = self.path(of: url)
        let sent = cookies.filter {
            path == $0.path || path.hasPrefix($0.path.hasSuffix("/") ? $0.path : $0.path + "/")
        }
        if !sent.isEmpty { headers.append(("Cookie", sent.map { "\($0.name)=\($0.value)" }.joined(separator: "; "))) }
        let response = try await http.send(HTTPRequest(method: method, url: resolve(url), headers: headers, body: body))
        for field in response.headers where field.name.lowercased() == "set-cookie" { keep(field.value) }
        return response
    }

    private func keep(_ field: String) {
        let parts = field.split(separator: ";").map { String($0.drop { $0 == " " }) }
        guard let pair = parts.first, let equals = pair.firstIndex(of: "=") else { return }
        let attributes = Array(parts.dropFirst())
        let path = attributes.first { $0.hasPrefix("Path=") }.map { String($0.dropFirst(5)) } ?? "/"
        cookies.append(
            Cookie(
                name: String(pair[..<equals]), value: String(pair[pair.index(after: equals)...]), path: path,
                attributes: attributes))
    }

    private func path(of url: String) -> String {
        let parts = url.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        return "/" + (parts.count > 3 ? parts[3].prefix { $0 != "?" } : "")
    }

    private func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
    }
}

extension HTTPResponse {
    /// Where it sends the browser to.
    var location: String { header("Location") ?? "" }
}
