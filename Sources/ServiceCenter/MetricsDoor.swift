import Hummingbird

/// `/metrics`: the figures of this process, and those of the database when they are wanted.
struct MetricsDoor: Sendable {
    let registry: PrometheusRegistry
    let database: DatabaseFigures?

    func add(to router: Router<BasicRequestContext>) {
        router.get("/metrics") { _, _ in
            var text = Exposition()
            registry.write(to: &text)
            if let database { text.append(await database.current()) }
            return Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: ResponseBody(byteBuffer: ByteBuffer(string: text.text)))
        }
    }
}
