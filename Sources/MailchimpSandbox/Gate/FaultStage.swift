import Glibc
import HTTPTypes
import Hummingbird
import NIOCore

/// Plays a fault on one connection.
struct FaultStage {
    let channel: any Channel

    /// What a fault makes of an answer.
    enum Outcome {
        /// The right answer goes out after all, only late.
        case unharmed
        /// Something goes out in its place; a status of 0 says that nothing arrived whole.
        case replaced(Response, status: Int)
    }

    func meet(_ fault: Fault, _ reply: Reply) async -> Outcome {
        switch fault.effect {
        case .hang:
            try? await Task.sleep(for: .milliseconds(fault.milliseconds))
            return .unharmed
        case .reset:
            await reset()
            return .replaced(Response(status: .internalServerError), status: 0)
        case .truncated: return .replaced(cut(reply), status: 0)
        case .malformed: return .replaced(malformed(reply), status: reply.status)
        case .slow: return .replaced(slow(reply, over: fault.milliseconds), status: reply.status)
        case .timeout:
            try? await Task.sleep(for: .milliseconds(fault.milliseconds))
            return Self.replaced(by: .badGatewayHTML)
        default: return Self.replaced(by: fault.effect)
        }
    }

    /// The answer, after which the connection ends.
    func closing(_ reply: Reply) -> Response {
        var fields = reply.fields
        fields[.connection] = "close"
        let body = ResponseBody(contentLength: reply.body.readableBytes) { [channel] writer in
            if reply.body.readableBytes > 0 { try await writer.write(reply.body) }
            try await writer.finish(nil)
            channel.close(mode: .all, promise: nil)
        }
        return Response(status: .init(code: reply.status), headers: fields, body: body)
    }

    /// Ends the connection so that the other side sees a reset and not an orderly end.
    private func reset() async {
        let socket = channel as? any SocketOptionProvider
        try? await socket?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
        try? await channel.close(mode: .all)
    }

    private func cut(_ reply: Reply) -> Response {
        let half = reply.body.getSlice(at: reply.body.readerIndex, length: reply.body.readableBytes / 2) ?? ByteBuffer()
        // Even an answer without a body is announced as one byte long, so that its end is missed.
        let body = ResponseBody(contentLength: max(1, reply.body.readableBytes)) { [channel] writer in
            try await writer.write(half)
            channel.close(mode: .all, promise: nil)
        }
        return Response(status: .init(code: reply.status), headers: reply.fields, body: body)
    }

    private func malformed(_ reply: Reply) -> Response {
        var malformed = reply
        let length = reply.body.readableBytes * 2 / 3
        malformed.body = reply.body.getSlice(at: reply.body.readerIndex, length: length) ?? ByteBuffer()
        return malformed.response
    }

    private func slow(_ reply: Reply, over milliseconds: Int) -> Response {
        let body = ResponseBody(contentLength: reply.body.readableBytes) { writer in
            let pieces = 10
            var rest = reply.body
            let size = max(1, (rest.readableBytes + pieces - 1) / pieces)
            for _ in 0..<pieces {
                if let piece = rest.readSlice(length: min(size, rest.readableBytes)), piece.readableBytes > 0 {
                    try await writer.write(piece)
                }
                try await Task.sleep(for: .milliseconds(milliseconds / pieces))
            }
            try await writer.finish(nil)
        }
        return Response(status: .init(code: reply.status), headers: reply.fields, body: body)
    }

    private static func replaced(by effect: FaultEffect) -> Outcome {
        let canned = Reply.canned(effect)
        return .replaced(canned.response, status: canned.status)
    }
}
