extension Array where Element: Sendable {
    /// Runs the body for each, so many at once; the first failure ends the rest.
    func visit(atOnce width: Int, _ body: @escaping @Sendable (Element) async throws -> Void) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            var waiting = makeIterator()
            for _ in 0..<width {
                guard let element = waiting.next() else { break }
                group.addTask { try await body(element) }
            }
            while try await group.next() != nil {
                guard let element = waiting.next() else { continue }
                group.addTask { try await body(element) }
            }
        }
    }
}
