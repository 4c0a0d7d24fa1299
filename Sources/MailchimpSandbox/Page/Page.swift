import Crypto
import FoundationEssentials
import HTTPTypes
import NIOCore

/// The page at `/`, where one sees what an integration does: a single document that needs nothing from elsewhere.
enum Page {
    static let document: String = {
        let style = text(PackageResources.page_css)
        let script = scriptText
        return text(PackageResources.page_html)
            .replacing("/*STYLE*/", with: style).replacing("/*SCRIPT*/", with: script)
    }()

    static let reply = Reply(
        status: 200,
        fields: [
            .contentType: "text/html; charset=utf-8", .cacheControl: "no-store", .contentSecurityPolicy: policy,
            .xContentTypeOptions: "nosniff",
        ], body: ByteBuffer(string: document))

    private static let scriptText = text(PackageResources.page_js) + text(PackageResources.acts_js)

    /// Nothing runs or is fetched but what is in the document, whatever a contact calls himself.
    private static let policy =
        "default-src 'none'; script-src '\(digest(scriptText))'; style-src '\(digest(text(PackageResources.page_css)))'; "
        + "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

    private static func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    private static func digest(_ text: String) -> String {
        "sha256-" + Data(SHA256.hash(data: Data(text.utf8))).base64EncodedString()
    }
}
