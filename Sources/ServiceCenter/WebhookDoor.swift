import Crypto
import HTTPTypes
import Hummingbird
import NIOCore
import Postgres

/// Where Mailchimp delivers: `/webhooks/mailchimp/{instance}/{secret}`.
///
/// A delivery is stored and answered; what it means is worked out later, by a worker. A wrong secret and an instance that
/// does not exist are answered alike, so that nobody learns which instances there are.
struct WebhookDoor: Sendable {
    /// Far above the largest delivery; a body beyond it is none of Mailchimp's.
    static let largestBody = 256 * 1024

    let pool: Pool

    func add(to router: Router<BasicRequestContext>) {
        // Mailchimp asks the address before it takes it for a webhook.
        router.get("/webhooks/mailchimp/:instance/:secret") { _, context in
            try await receive(nil, headers: nil, context: context)
        }
        router.post("/webhooks/mailchimp/:instance/:secret") { request, context in
            let buffer: ByteBuffer
            do {
                buffer = try await request.body.collect(upTo: Self.largestBody)
            } catch is NIOTooManyBytesError {
                throw Problem(.contentTooLarge, "A delivery is at most \(Self.largestBody) bytes long.")
            }
            let form: FormValue
            do {
                form = try FormValue(urlEncoded: buffer.readableBytesView)
            } catch {
                throw Problem(.badRequest, "The body is not the form of a delivery: \(error).")
            }
            let headers = try JSONText(encoding: Headers(of: request))
            return try await receive(JSONText(encoding: form), headers: headers, context: context)
        }
    }

    private func receive(_ body: JSONText?, headers: JSONText?, context: BasicRequestContext) async throws -> Response {
        guard
            let instance = context.parameters.get("instance", as: Int64.self),
            let secret = context.parameters.get("secret"),
            try await isReceived(body, headers: headers, instance: instance, secret: secret)
        else { throw Problem(.notFound, "There is no such webhook.") }
        return Response(status: .ok)
    }

    private func isReceived(
        _ body: JSONText?, headers: JSONText?, instance: Int64, secret: String
    ) async throws -> Bool {
        let hash = Array(SHA256.hash(data: Array(secret.utf8)))
        let rows = try await pool.query(
            """
            select koppeling.receive_webhook(\(instance), \(hash), \(body), \(headers))
            """)
        return try rows.first?.decode(0, as: String.self) == "stored"
    }

    /// The headers worth keeping: who sent it, and the signature if there is one.
    private struct Headers: Encodable {
        var userAgent: String?
        var signature: String?

        init(of request: Request) {
            userAgent = request.headers[.userAgent]
            signature = HTTPField.Name("X-Mailchimp-Signature").flatMap { request.headers[$0] }
        }

        enum CodingKeys: String, CodingKey {
            case userAgent = "user-agent"
            case signature = "x-mailchimp-signature"
        }
    }
}
