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
        let prefixes = [Call.marketing, Call.control, World.oauthPrefix, BatchResults.prefix]
        let prefix = prefixes.first { path == $0 || path.hasPrefix($0 + "/") } ?? ""
        let call = call(request, path: path, query: query, body: [UInt8](buffer.readableBytesView), prefix, context)
        switch prefix {
        case Call.marketing: return await marketing(call, query: query, context)
        case Call.control:
            return await atHome(call, request) { call throws(Problem) in try await world.control(call) }
        case BatchResults.prefix: return await world.batchResults(call).response
        case World.oauthPrefix: return await world.oauth(call).response
        default: break
        }
        guard path == "/", request.method == .get else { return Reply.problem(.notFound, call, links: nil).response }
        return await atHome(call, request) { _ in nil }
    }

    private func call(
        _ request: Request, path: String, query: String, body: [UInt8], _ prefix: String, _ context: GateContext
    ) -> Call {
        Call(
            method: request.method.rawValue, path: path, segments: Call.segments(of: path.dropFirst(prefix.count)),
            query: Query(query), authorization: request.headers[.authorization],
            triggeredError: request.headers[.triggerError], methodOverride: request.headers[.methodOverride],
            body: Call.Body(body), remoteIP: context.channel.remoteAddress?.ipAddress ?? "127.0.0.1",
            requestID: Reply.newRequestID(), host: request.head.authority ?? "")
    }

    /// Answers whoever may come to the control door; no answer stands for the page.
    private func atHome(
        _ call: Call, _ request: Request, _ answer: (Call) async throws(Problem) -> JSON?
    ) async -> Response {
        let doorkeeper = Doorkeeper(isOpen: configuration.controlDoorIsOpen)
        do throws(Problem) {
            let refusal = doorkeeper.refusal(
                peer: call.remoteIP, host: call.host, origin: request.headers[.origin])
            if let refusal { throw refusal }
            return (try await answer(call).map { Reply.json($0) } ?? Page.reply).response
        } catch {
            return Reply.problem(error, call, links: nil).response
        }
    }

    private func marketing(_ call: Call, query: String, _ context: GateContext) async -> Response {
        let started = ContinuousClock.now
        let admission = await world.admit(call, query: query)
        let sent = await respond(to: admission, FaultStage(channel: context.channel))
        let finish: @Sendable (Int, Sighting?) async -> Void = { [world] status, sighting in
            let spent = ContinuousClock.now - started
            // Who has hung up meanwhile sees nothing.
            await world.finish(
                admission, status: status, milliseconds: Int(spent / .milliseconds(1)),
                sighting: context.channel.isActive ? sighting : nil)
        }
        guard sent.trickles, context.channel.isActive else {
            await finish(sent.status, sent.sighting)
            return sent.response
        }
        // It holds its place among the calls in flight until the last byte is out.
        let body = sent.response.body
        var response = sent.response
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            do {
                try await body.write(writer)
            } catch {
                await finish(0, nil)
                throw error
            }
            await finish(sent.status, sent.sighting)
        }
        return response
    }

    /// What goes out, and what whoever gets it whole sees of consent.
    private struct Sent {
        var response: Response
        var status: Int
        var sighting: Sighting?
        var trickles = false
    }

    private func respond(to admission: Admission, _ stage: FaultStage) async -> Sent {
        let fault = admission.fault
        if let fault, !fault.isAfterWork,
            case .replaced(let response, let status) = await stage.meet(fault, Reply(status: 200, fields: [:]))
        {
            return Sent(response: response, status: status)
        }
        // What is refused at the door does not wait: it would hold its place among the calls in flight.
        if admission.refusal == nil { await pause(admission.latency.base) }
        let (reply, members, sighting) = await work(admission)
        await pause(admission.latency.member * Double(members))
        if let fault, fault.isAfterWork, case .replaced(let response, let status) = await stage.meet(fault, reply) {
            let trickles = fault.effect == .slow
            return Sent(
                response: response, status: status, sighting: trickles ? sighting : nil, trickles: trickles)
        }
        return Sent(
            response: admission.closesConnection ? stage.closing(reply) : reply.response, status: reply.status,
            sighting: sighting)
    }

    private func work(_ admission: Admission) async -> (Reply, members: Int, Sighting?) {
        let call = admission.call
        let links = call.account.map { Links(account: $0) }
        do throws(Problem) {
            if let refusal = admission.refusal { throw refusal }
            guard let endpoint = admission.endpoint else { throw .notFound }
            let answer = try await world.answer(call, to: endpoint)
            let selection = FieldSelection(fields: call.query["fields"], excluding: call.query["exclude_fields"])
            let sighting = Sighting(call, endpoint, .success(answer))
            return (Reply.answer(answer, call, selection, links), answer.members, sighting)
        } catch {
            let sighting =
                admission.refusal == nil ? admission.endpoint.flatMap { Sighting(call, $0, .failure(error)) } : nil
            return (Reply.problem(error, call, links: links), 0, sighting)
        }
    }

    private func pause(_ milliseconds: Double) async {
        guard milliseconds > 0 else { return }
        try? await Task.sleep(for: .microseconds(Int(milliseconds * 1000)))
    }
}
