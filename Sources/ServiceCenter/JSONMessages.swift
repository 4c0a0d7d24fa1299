import Hummingbird
import NIOCore
import Postgres

extension Request {
    /// The body, which the database will find to be JSON or not.
    func json(upTo largest: Int) async throws -> JSONText {
        do {
            return JSONText(utf8: try await body.collect(upTo: largest).readableBytesView)
        } catch is NIOTooManyBytesError {
            throw Problem(.contentTooLarge, "A body is at most \(largest) bytes long; send it in parts.")
        }
    }
}

extension Response {
    /// An answer in JSON.
    init(_ json: JSONText, status: HTTPResponse.Status = .ok) {
        self.init(
            status: status, headers: [.contentType: "application/json"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: json.text)))
    }
}
