import Hummingbird
import Logging
import NIOCore

/// What the gate keeps of the server's connection: it may have to cut it.
struct GateContext: InitializableFromSource {
    let channel: any Channel

    init(source: ApplicationRequestContextSource) { channel = source.channel }
}

/// The way of every request: to the control door, or past the checks, the latency and the faults to its work.
struct Gate: HTTPResponder {
    let world: World
    let configuration: SandboxConfiguration

    func respond(to request: Request, context: GateContext) async throws -> Response {
        let target = request.head.path ?? "/"
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        let path = String(parts[0])
        let query = parts.count > 1 ? String(parts[1]) : ""
        if path == Call.marketing {
            return Response(status: .movedPermanently, headers: [.location: Call.marketing + "/"])
        }
        guard let buffer = try? await request.body.collect(upTo: configuration.maximumBody) else {
            return Response(status: .contentTooLarge)
        }
        let prefix =
            path.hasPrefix(Call.marketing + "/") ? Call.marketing : path.hasPrefix(Call.control) ? Call.control : ""
        let call = call(request, path: path, query: query, body: [UInt8](buffer.readableBytesView), prefix, context)
        switch prefix {
        case Call.marketing: return await marketing(call, query: query, context)
        case Call.control: return await control(call, context)
        default: return Reply.problem(.notFound, call, links: nil).response
        }
    }

    private func call(
        _ request: Request, path: String, query: String, body: [UInt8], _ prefix: String, _ context: GateContext
    ) -> Call {
        Call(
            method: request.method.rawValue, path: path, segments: Call.segments(of: path.dropFirst(prefix.count)),
            query: Query(query), authorization: request.headers[.authorization],
            triggeredError: request.headers[.triggerError], methodOverride: request.headers[.methodOverride],
            body: Call.Body(body), remoteIP: context.channel.remoteAddress?.ipAddress ?? "127.0.0.1",
            requestID: Reply.newRequestID())
    }

    private func control(_ call: Call, _ context: GateContext) async -> Response {
        let peer = context.channel.remoteAddress?.ipAddress ?? "127.0.0.1"
        guard configuration.controlDoorIsOpen || peer.hasPrefix("127.") || peer == "::1" else {
            return Reply.problem(
                Problem(403, "Forbidden", "The control door opens to this machine only."), call, links: nil
            ).response
        }
        do throws(Problem) {
            return Reply.json(try await world.control(call)).response
        } catch {
            return Reply.problem(error, call, links: nil).response
        }
    }

    private func marketing(_ call: Call, query: String, _ context: GateContext) async -> Response {
        let started = ContinuousClock.now
        let admission = await world.admit(call, query: query)
        let (response, status) = await respond(to: admission, FaultStage(channel: context.channel))
        let spent = ContinuousClock.now - started
        await world.finish(admission, status: status, milliseconds: Int(spent / .milliseconds(1)))
        return response
    }

    private func respond(to admission: Admission, _ stage: FaultStage) async -> (Response, status: Int) {
        let fault = admission.fault
        if let fault, !fault.isAfterWork,
            case .replaced(let response, let status) = await stage.meet(fault, Reply(status: 200, fields: [:]))
        {
            return (response, status)
        }
        // What is refused at the door does not wait: it would hold its place among the calls in flight.
        if admission.refusal == nil { await pause(admission.latency.base) }
        let (reply, members) = await work(admission)
        await pause(admission.latency.member * Double(members))
        if let fault, fault.isAfterWork, case .replaced(let response, let status) = await stage.meet(fault, reply) {
            return (response, status)
        }
        return (admission.closesConnection ? stage.closing(reply) : reply.response, reply.status)
    }

    private func work(_ admission: Admission) async -> (Reply, members: Int) {
        let call = admission.call
        let links = call.account.map { Links(account: $0) }
        do throws(Problem) {
            if let refusal = admission.refusal { throw refusal }
            guard let endpoint = admission.endpoint else { throw .notFound }
            let answer = try await world.answer(call, to: endpoint)
            let selection = FieldSelection(fields: call.query["fields"], excluding: call.query["exclude_fields"])
            return (Reply.answer(answer, call, selection, links), answer.members)
        } catch {
            return (Reply.problem(error, call, links: links), 0)
        }
    }

    private func pause(_ milliseconds: Double) async {
        guard milliseconds > 0 else { return }
        try? await Task.sleep(for: .microseconds(Int(milliseconds * 1000)))
    }
}
