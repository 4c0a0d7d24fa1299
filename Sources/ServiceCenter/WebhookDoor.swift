import Connector
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

    let receiver: WebhookReceiver

    func add(to router: Router<BasicRequestContext>) {
        // Mailchimp asks the address before it takes it for a webhook.
        router.get("/webhooks/mailchimp/:instance/:secret") { _, context in
            let (instance, secret) = try address(context)
            guard try await receiver.knows(instance: instance, secret: secret) else { throw Problem.noSuchWebhook }
            return Response(status: .ok)
        }
        router.post("/webhooks/mailchimp/:instance/:secret") { request, context in
            let (instance, secret) = try address(context)
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
            let signature = HTTPField.Name("X-Mailchimp-Signature").flatMap { request.headers[$0] }
            let answer = try await receiver.receive(
                JSONText(encoding: form), body: buffer.readableBytesView, signature: signature, instance: instance,
                secret: secret)
            switch answer {
            case .stored: return Response(status: .ok)
            case .unknownAddress: throw Problem.noSuchWebhook
            case .badSignature: throw Problem(.forbidden, "The deliveries of this webhook are signed; this one is not.")
            }
        }
    }

    private func address(_ context: BasicRequestContext) throws -> (instance: Int64, secret: String) {
        guard
            let instance = context.parameters.get("instance", as: Int64.self),
            let secret = context.parameters.get("secret")
        else { throw Problem.noSuchWebhook }
        return (instance, secret)
    }
}

extension Problem {
    fileprivate static var noSuchWebhook: Problem { Problem(.notFound, "There is no such webhook.") }
}
