import ArgumentParser
import Connector
import TargetGroups

extension GroupCommand {
    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Delete a target group, and the link that it was made with.",
            discussion: """
                Turn its instance off first (koppeling instance disable). Then its contacts are left in the list as they \
                are, or archived: that takes a plan which somebody approves, and this command once more at the end. What \
                persons said stays: whoever links the list again does not write to who said no.
                """)

        @Argument(help: "The group.")
        var group: String

        @Option(help: "What becomes of the contacts of a linked group: archive or leave.")
        var contacts: Contacts?

        enum Contacts: String, ExpressibleByArgument, CaseIterable { case archive, leave }

        @Flag(help: "Yes, delete it.")
        var yes = false

        func run() async throws {
            try await Runtime.with { runtime in
                let groups = Groups(pool: runtime.pool)
                let found = try await groups.require(group)
                guard yes else {
                    let more = found.isLinked && contacts == nil ? " and --contacts archive, or leave," : ""
                    throw Failure(
                        "\(found.name) has \(found.active.counted("member")): add --yes\(more) to delete it.")
                }
                guard found.isLinked, let contacts else {
                    // Of a linked one the refusal says what is missing.
                    return try await groups.delete(found.name, actor: runtime.actor)
                }
                let services = try LinkServices(runtime)
                defer { services.shutdown() }
                guard let instance = try await services.instances.find(group: found.id) else {
                    return try await groups.delete(found.name, actor: runtime.actor)
                }
                let deletion = try await services.instances.deleteGroup(
                    of: instance, contacts: contacts == .archive ? .archive : .leave, actor: runtime.actor)
                tell(deletion, instance)
            }
        }

        private func tell(_ deletion: Instances.GroupDeletion, _ instance: Instances.Instance) {
            guard !deletion.isDone else {
                return Console.line("Deleted. The list keeps \(deletion.left.counted("contact")) of ours.")
            }
            let left = deletion.left.counted("contact of ours is", "contacts of ours are")
            Console.line("Nobody is wanted in the list any more; \(left) still there.")
            Console.line("1. koppeling instance enable \"\(instance.name)\"")
            if let plan = deletion.plan, let version = deletion.version {
                let removals = (deletion.leaves ?? 0).counted("removal")
                Console.line("2. koppeling plan approve \(plan) --plan-version \(version)   # \(removals)")
            } else {
                Console.line("2. koppeling action run --all \"\(instance.name)\"   # when they wait for somebody")
            }
            Console.line("3. when `koppeling instance status \"\(instance.name)\"` shows no open actions:")
            Console.line("   koppeling instance disable \"\(instance.name)\", and this command again")
        }
    }
}
