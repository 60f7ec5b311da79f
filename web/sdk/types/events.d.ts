/**
 * @template {Record<string, any>} Events what each event brings, by its name
 */
export declare class Emitter<Events extends Record<string, any>> {
    #private;
    /**
     * Calls `listener` at each event of this name.
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {(value: Events[Name]) => void} listener
     * @returns {() => void} ends it
     */
    on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void;
    /**
     * @template {keyof Events} Name
     * @param {Name} name
     * @param {Events[Name]} value
     */
    emit<Name extends keyof Events>(name: Name, value: Events[Name]): void;
}
